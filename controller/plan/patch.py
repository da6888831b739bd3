"""Patches: the managed fields of one domain, in the running guest and in its definition."""

from dataclasses import dataclass, field

from controller.model.facts import DomainConfig, DomainFacts
from controller.model.host import Host
from controller.model.virtual_machine import VirtualMachine
from controller.plan.actions import (
    Cause,
    CreateDisk,
    DefineDomain,
    DisableAutostart,
    ReconfigureDomain,
    RestartDomain,
)
from controller.plan.card import nic_changes
from controller.plan.case import Case, pool_first
from controller.plan.domain import (
    disk_changes,
    domain_wish,
    is_as_declared,
    is_marked,
    ownership_of,
    sizing_changes,
)
from controller.plan.wishes import AttachDisk, DomainChange, SetOwnership


def plan_patches(case: Case, host_name: str, domain: DomainFacts) -> str | None:
    """Note what brings a domain's XML to what is declared; return the last action's id, if any."""
    host = case.survey.desired.hosts[host_name]
    last: str | None = None
    if domain.config is None:
        last = case.draft.do(DefineDomain(
            target=case.target, node=host_name, cause=case.cause,
            wish=domain_wish(case.vm, host, domain.uuid, case.survey),
            reason=f"{case.vm.name} runs on {host_name} but is not defined there:"
                   " it would be gone when it stops"))
    if domain.autostart:
        case.draft.do(DisableAutostart(
            target=case.target, node=host_name, domain=case.vm.name,
            reason=f"libvirt on {host_name} would start {case.vm.name} by itself, without knowing"
                   " whether it runs elsewhere"))
    bridge = host.spec.bridge
    if ((domain.live is None or is_as_declared(case.vm, domain.live, bridge, case.survey))
            and (domain.config is None
                 or is_as_declared(case.vm, domain.config, bridge, case.survey))
            and (domain.config is None or is_marked(case.vm, domain.ownership, case.survey))):
        return last
    return _patch(case, host, domain) or last


@dataclass(slots=True)
class Side:
    """The changes of one of the two XMLs of a domain, and the words for them."""

    changes: list[DomainChange] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    restarts: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def _compare(case: Case, host: Host, seen: DomainConfig | None, *, live: bool,
             grow: bool) -> Side:
    side = Side()
    if seen is None:
        return side
    say, restart = side.words.append, side.restarts.append
    side.changes += sizing_changes(case.vm, seen, live=live, say=say, restart=restart)
    side.changes += nic_changes(case.vm, seen, host, case.survey, live=live, say=say,
                                restart=restart, remark=side.remarks.append)
    side.changes += disk_changes(case.vm, seen, host, grow=grow, say=say,
                                 remark=side.remarks.append)
    return side


def _patch(case: Case, host: Host, domain: DomainFacts) -> str | None:
    vm, draft, cause = case.vm, case.draft, case.cause
    live = _compare(case, host, domain.live, live=True, grow=True)
    config = _compare(case, host, domain.config, live=False, grow=domain.live is None)
    if domain.config is not None and not is_marked(
            vm, domain.ownership, case.survey):
        config.changes.append(SetOwnership(ownership_of(vm, case.survey)))
        config.words.append(_ownership_words(vm, domain))
        cause = Cause.COMMIT if domain.ownership is None else cause
    for sentence in dict.fromkeys((*live.remarks, *config.remarks)):
        draft.remark(case.target, sentence)
    ids = _missing_disks(case, host, (*live.changes, *config.changes), cause)
    if live.changes:
        ids = (*ids, draft.do(ReconfigureDomain(
            target=case.target, node=host.name, domain=vm.name, changes=tuple(live.changes),
            live=True, reason=_sentence(vm.name, live.words), consequence="live",
            cause=cause), ids))
    rest = tuple(change for change in config.changes if change not in live.changes)
    if rest:
        ids = (*ids, draft.do(ReconfigureDomain(
            target=case.target, node=host.name, domain=vm.name, changes=rest, live=False,
            reason=_sentence(vm.name, config.words), cause=cause,
            consequence="for its next start" if domain.live is not None else "while it is off"),
            ids))
    if live.restarts:
        ids = (*ids, draft.do(RestartDomain(
            target=case.target, node=host.name, domain=vm.name, cause=cause,
            limit_s=vm.spec.shutdown_limit_s, reason=_sentence(vm.name, live.restarts),
            consequence="cold restart"), ids))
    return ids[-1] if ids else None


def _sentence(name: str, words: list[str]) -> str:
    return f"{name}: {'; '.join(dict.fromkeys(words))}"


def _ownership_words(vm: VirtualMachine, domain: DomainFacts) -> str:
    if domain.ownership is None:
        return "it exists and is declared now: it is taken over as it is"
    return f"its mark says deletion {domain.ownership.deletion} and {vm.spec.deletion} is declared"


def _missing_disks(case: Case, host: Host, changes: tuple[DomainChange, ...],
                   cause: Cause) -> tuple[str, ...]:
    pools = case.survey.pools(host.name) or {}
    disks = {change.disk.target: change.disk for change in changes
             if isinstance(change, AttachDisk)}
    ids: list[str] = []
    for _, disk in sorted(disks.items()):
        pool = pools.get(disk.pool)
        if pool is None or disk.path.rpartition("/")[2] not in pool.volumes:
            ids.append(case.draft.do(CreateDisk(
                target=case.target, node=host.name, disk=disk, cause=cause,
                reason=f"{case.vm.name}'s disk {disk.target} is declared and has no file"),
                (pool_first(host.name, disk.pool),)))
    return tuple(ids)
