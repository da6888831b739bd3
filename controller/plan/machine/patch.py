"""Patches: changing the managed fields of a domain, in the running guest and in its definition.

Rule 1: quick changes are attempted before a start and new disks after it, but no start, move or
        other patch depends on their success.
Rule 2: what is taken from a guest is an action of its own, which asks a person first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from controller.model.facts import DomainConfig, DomainFacts
from controller.model.host import Host
from controller.model.units import is_memory_of, render_size
from controller.model.virtual_machine import Autostart, VirtualMachine
from controller.plan.actions.action import Ask, Cause
from controller.plan.actions.desired import (
    AttachDisk,
    DesiredDisk,
    DetachDisk,
    DetachNic,
    DomainChange,
    SetCpus,
    SetMemory,
    SetOwnership,
)
from controller.plan.actions.machine import (
    DefineDomain,
    DisableAutostart,
    MigrateDomain,
    PruneDomain,
    ReconfigureDomain,
    RestartDomain,
)
from controller.plan.actions.storage import CreateDisk
from controller.plan.machine.disks import disk_changes
from controller.plan.machine.domain import (
    cannot_hold,
    desired_domain,
    is_in_order,
    is_marked,
    ownership_of,
    sizing_changes,
    takes_away,
    twin_cards,
)
from controller.plan.machine.state import Case, pool_first
from controller.plan.network.card import nic_changes
from controller.plan.steps.draft import counted
from controller.plan.survey.survey import Survey

LATER: Final = 10**6
"""The rank of new disks: every start comes first."""


class NewDisk(NamedTuple):
    """A new disk and the id of the action that creates its file."""

    disk: DesiredDisk
    created_by: str


def plan_patches(case: Case, host_name: str, domain: DomainFacts) -> str | None:
    """Plan the changes of a domain's XML; return the id of the action that defines it, if any.

    A start or move depends on that alone: all other changes are improvements.
    """
    host = case.survey.desired.hosts[host_name]
    defined: str | None = None
    if domain.config is None:
        defined = case.draft.do(DefineDomain(
            target=case.target, node=host_name, cause=case.cause,
            desired=desired_domain(case.vm, host, domain, case.survey),
            reason=f"{case.vm.name} runs on {host_name} but is not defined there:"
                   " it would be gone when it stops"))
    if domain.autostart and case.vm.spec.autostart is Autostart.OFF:
        case.draft.do(DisableAutostart(
            target=case.target, node=host_name, domain=domain.name, uuid=domain.uuid,
            reason=f"libvirt on {host_name} would start {case.vm.name} by itself, without knowing"
                   " whether it runs elsewhere"))
    if not is_in_order(case.vm.name, domain, host_name, case.survey.desired):
        _patch(case, host, domain)
    return defined


@dataclass(slots=True)
class Side:
    """The changes of one of the two XMLs of a domain, and the reasons for them."""

    changes: list[DomainChange] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    takes: list[str] = field(default_factory=list)
    """Reasons for changes that detach something, or leave a running guest less."""
    restarts: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    impossible: list[str] = field(default_factory=list)
    """Why this XML cannot become what is declared."""


def compare(case: Case, host: Host, seen: DomainConfig | None, *, live: bool, grow: bool) -> Side:
    """Return what differs between one XML of a domain and the spec."""
    side = Side()
    if seen is None:
        return side
    say, take, restart = side.words.append, side.takes.append, side.restarts.append
    side.changes += sizing_changes(case.vm, seen, live=live, say=say, take=take, restart=restart)
    side.impossible += cannot_hold(case.vm, seen)
    if not twin_cards(seen):
        side.changes += nic_changes(case.vm, seen, host, case.survey, live=live, say=say,
                                    take=take, restart=restart, remark=side.remarks.append)
    side.changes += disk_changes(case.vm, seen, host, case.survey.pools(host.name) or {},
                                 grow=grow, say=say, take=take, remark=side.remarks.append)
    return side


def _patch(case: Case, host: Host, domain: DomainFacts) -> None:
    vm, draft, cause = case.vm, case.draft, case.cause
    live = compare(case, host, domain.live, live=True, grow=True)
    config = compare(case, host, domain.config, live=False, grow=domain.live is None)
    if domain.config is not None and not is_marked(vm, domain, case.survey.desired):
        mark = SetOwnership(ownership_of(vm, domain.uuid, domain.name, domain.ownership,
                                         case.survey))
        words = _ownership_words(vm, domain, case.survey)
        config.changes.append(mark)
        config.words.append(words)
        if domain.live is not None:     # the running guest may lose its definition, too
            live.changes.append(mark)
            live.words.append(words)
    for sentence in dict.fromkeys((*live.remarks, *config.remarks)):
        draft.remark(case.target, sentence)
    for sentence in dict.fromkeys((*live.impossible, *config.impossible)):
        draft.stall(case.target, "CannotHold", f"{vm.name} on {host.name} cannot become as"
                    f" declared: {sentence}")
    gives = [one for one in live.changes
              if domain.live is not None and not takes_away(one, domain.live)]
    new_disks = _missing_disks(case, host, (*live.changes, *config.changes), cause)
    ids: tuple[str, ...] = ()
    now = tuple(one for one in gives if not _comes_later(one, new_disks))
    if now:
        ids = (*ids, draft.do(ReconfigureDomain(
            target=case.target, node=host.name, domain=domain.name, uuid=domain.uuid, changes=now,
            live=True, reason=_sentence(vm.name, live.words), consequence="live",
            cause=cause)))
    rest = tuple(one for one in config.changes
                 if one not in gives and not isinstance(one, DetachNic | DetachDisk)
                 and not _comes_later(one, new_disks))
    if rest:
        ids = (*ids, draft.do(ReconfigureDomain(
            target=case.target, node=host.name, domain=domain.name, uuid=domain.uuid,
            changes=rest, live=False,
            reason=_sentence(vm.name, config.words), cause=cause,
            consequence="for its next start" if domain.live is not None else "while it is off"),
            ids))
    _attach_new(case, host, domain, new_disks, gives)
    _prune(case, host, domain, live, config)
    if live.restarts:
        draft.do(RestartDomain(
            target=case.target, node=host.name, domain=domain.name, uuid=domain.uuid, cause=cause,
            limit_s=vm.spec.shutdown_limit_s, reason=_sentence(vm.name, live.restarts),
            consequence="cold restart", ask=_less_after(vm, host.name, domain.live)),
            (*ids, *_move_first(case, host)))


def _less_after(vm: VirtualMachine, host: str, live: DomainConfig | None) -> Ask | None:
    """Return what is asked before a restart that leaves a guest less memory or fewer CPUs."""
    if live is None:
        return None
    less: list[DomainChange] = []
    if live.memory_bytes > vm.spec.memory_bytes and not is_memory_of(
            live.memory_bytes, vm.spec.memory_bytes):
        less.append(SetMemory(vm.spec.memory_bytes))
    if live.cpus > vm.spec.cpus:
        less.append(SetCpus(vm.spec.cpus))
    if not less:
        return None
    has = f"{render_size(live.memory_bytes)} and {counted(live.cpus, 'CPU')}"
    return Ask("takes", f"{vm.name} on {host} runs with {has} and would lose {_lost(tuple(less))}"
                        " by a restart; when it next stops by itself it has no more, either")


def _move_first(case: Case, host: Host) -> tuple[str, ...]:
    """Return the id of the move away from a host, if one is planned: other changes follow it."""
    if case.goal is None or case.goal == host.name:
        return ()
    return (f"{MigrateDomain.verb}:{case.target}@{host.name}/{case.goal}",)


def _comes_later(change: DomainChange, new_disks: Mapping[str, NewDisk]) -> bool:
    """Return whether a change attaches a disk whose file is still to be created."""
    return isinstance(change, AttachDisk) and change.disk.target in new_disks


def _attach_new(case: Case, host: Host, domain: DomainFacts, new_disks: Mapping[str, NewDisk],
             gives: list[DomainChange]) -> None:
    """Plan to attach each new disk once its file exists; nothing else waits for that."""
    for target, (disk, created_by) in sorted(new_disks.items()):
        change = AttachDisk(disk)
        live = change in gives
        case.draft.do(ReconfigureDomain(
            target=case.target, node=host.name, domain=domain.name, uuid=domain.uuid,
            changes=(change,), live=live,
            disk=target, reason=f"{case.vm.name}: disk {target} is missing", cause=case.cause,
            consequence="live" if live else "for its next start"), (created_by,), LATER)


def _prune(case: Case, host: Host, domain: DomainFacts, live: Side, config: Side) -> None:
    """Plan what is taken from a domain, in actions of their own, so that nothing waits for them."""
    from_live = tuple(one for one in live.changes
                      if domain.live is not None and takes_away(one, domain.live))
    from_config = tuple(one for one in config.changes if one not in from_live
                        and isinstance(one, DetachNic | DetachDisk))
    name = case.vm.name
    for changes, side, is_live in ((from_live, live, True), (from_config, config, False)):
        if changes:
            running = " while it runs" if is_live else ""
            case.draft.do(PruneDomain(
                target=case.target, node=host.name, domain=domain.name, uuid=domain.uuid,
                changes=changes,
                live=is_live, reason=_sentence(name, side.takes), cause=case.cause,
                consequence=f"{_lost(changes)}{running or ', from its next start on'}",
                ask=Ask("takes", f"{name} on {host.name} would lose {_lost(changes)}{running}:"
                                 f" {'; '.join(side.takes)}")), _move_first(case, host))


def _lost(changes: tuple[DomainChange, ...]) -> str:
    """Return what changes take away: `disk vdb and card 52:54:00:00:00:01`."""
    words = []
    for change in changes:
        match change:
            case DetachDisk(target):
                words.append(f"disk {target}")
            case DetachNic(mac):
                words.append(f"card {mac}")
            case SetMemory(size):
                words.append(f"all memory but {render_size(size)}")
            case SetCpus(cpus):
                words.append(f"all CPUs but {cpus}")
    return " and ".join(words)


def _sentence(name: str, words: list[str]) -> str:
    return f"{name}: {'; '.join(dict.fromkeys(words))}"


def _ownership_words(vm: VirtualMachine, domain: DomainFacts, survey: Survey) -> str:
    """Return how the mark on a domain differs from the one that it should carry."""
    seen = domain.ownership
    if seen is None:
        return "it carries no mark of ours"
    if seen.deletion != vm.spec.deletion:
        return f"its mark says deletion {seen.deletion} and {vm.spec.deletion} is declared"
    if seen.estate != survey.estate_name:
        return f"its mark says estate {seen.estate}, which is {survey.estate_name} now"
    if seen.name not in {"", vm.name}:
        return (f"its mark says {seen.name}, which is {vm.name} now; libvirt goes on calling it"
                f" {domain.name}")
    if seen.name and seen.uuid not in {"", domain.uuid}:
        return "its mark was written for another domain and came along when that was cloned"
    return "its mark does not say yet which domain it was written for"


def _missing_disks(case: Case, host: Host, changes: tuple[DomainChange, ...],
                   cause: Cause) -> Mapping[str, NewDisk]:
    """Plan the files that new disks need; return those disks by target."""
    pools = case.survey.pools(host.name) or {}
    disks = {change.disk.target: change.disk for change in changes
             if isinstance(change, AttachDisk)}
    found: dict[str, NewDisk] = {}
    for target, disk in sorted(disks.items()):
        pool = pools.get(disk.pool)
        if pool is None or disk.path.rpartition("/")[2] not in pool.volumes:
            found[target] = NewDisk(disk, case.draft.do(CreateDisk(
                target=case.target, node=host.name, disk=disk, cause=cause, ask=_anew(case, disk),
                reason=f"{case.vm.name}'s disk {disk.target} is declared and has no file"),
                (pool_first(host.name, disk.pool),), LATER))
    return found


def _anew(case: Case, disk: DesiredDisk) -> Ask | None:
    """Return what is asked before a missing file is created again that no commit added."""
    if case.cause is not Cause.DRIFT:
        return None
    return Ask("anew", (
        f"{case.vm.name}'s disk {disk.target} is not plugged in, its file {disk.path} is not there,"
        " and no commit has added it. A new one is empty: what the disk held is lost. Put the file"
        " back if you can; with a yes a new one is created"))
