"""Virtual machines: from the state of a VM (state.py) to the actions that bring it to its spec."""

from collections.abc import Mapping
from typing import Final

from controller.model.facts import DomainFacts, DomainState
from controller.model.virtual_machine import Autostart, Power, VirtualMachine
from controller.plan.actions.action import Ask
from controller.plan.actions.machine import (
    ResumeDomain,
    ShutDownDomain,
    StartDomain,
    UndefineDomain,
)
from controller.plan.machine.adoption import adopt
from controller.plan.machine.creation import create
from controller.plan.machine.domain import is_in_order
from controller.plan.machine.migration import plan_migration
from controller.plan.machine.patch import plan_patches
from controller.plan.machine.state import (
    MIGRATED,
    Case,
    Location,
    MachineState,
    carried_by,
    start_blocker,
)
from controller.plan.survey.identity import Sighting, is_for
from controller.plan.survey.namesakes import quoted, way_out
from controller.plan.survey.survey import Survey

STALLS: Final = {MachineState.SPLIT_BRAIN: "TwoRunningCopies",
                 MachineState.AMBIGUOUS: "SeveralCopies",
                 MachineState.RENAMED: "AnotherName", MachineState.TAKEN: "Taken"}
FELL: Final = frozenset({"crashed", "failed"})
"""libvirt's reasons for a stop that no person caused."""
ADOPTABLE: Final = frozenset({MachineState.RUNNING, MachineState.OFF})


def needs_nothing(vm: VirtualMachine, location: Location, goal: str | None, survey: Survey) -> bool:
    """Return whether a VM runs where it belongs with nothing to change: true of nearly all."""
    domain, host = location.domain, location.host
    if (location.state is not MachineState.RUNNING or domain is None or host is None or host != goal
            or location.others or domain.state is not DomainState.RUNNING
            or (domain.autostart and vm.spec.autostart is Autostart.OFF)
            or domain.live is None or domain.config is None or vm.spec.power is not Power.ON
            or location.rivals or location.namesakes or vm.metadata.name in survey.last_seen
            or domain.name != (vm.spec.domain or domain.name)):
        return False
    return survey.specs.cached(is_in_order, vm.metadata.name, domain, host, survey.desired)


def diff_virtual_machine(case: Case) -> None:
    """Plan what brings one VM to its spec, or report why nothing is done."""
    state, host, domain = case.location.state, case.location.host, case.location.domain
    if domain is not None and state in ADOPTABLE and (
            domain.name != (case.vm.spec.domain or domain.name)):
        case.draft.remark(case.target, f"libvirt on {host} calls {case.vm.name} {domain.name}, and"
                          f" `domain: {case.vm.spec.domain}` is declared: no domain is renamed by"
                          " us, and all else goes on; declare the name that it has, or shut it"
                          f" down and `virsh domrename {quoted(domain.name)}"
                          f" {quoted(case.vm.libvirt_name)}` there")
    if domain is not None and domain.ownership is not None and (
            domain.ownership.estate not in case.survey.specs.names.estates):
        case.draft.stall(case.target, "AnotherEstates", (
            f"{domain.name} on {case.location.host} carries the mark of estate"
            f" {domain.ownership.estate}: it is left alone; if this estate was that one, write"
            f" `formerly: {domain.ownership.estate}` into the Estate; else rename one of the two"
            " machines"))
    elif domain is not None and host is not None and state in ADOPTABLE and not _is_ours(
            domain, case.survey):
        _report_conflicts(case)
        adopt(case, host, domain)
    elif state is MachineState.RUNNING:
        _diff_running(case)
    elif state is MachineState.OFF:
        _diff_off(case)
    elif state is MachineState.ABSENT:
        create(case)
    elif state in STALLS and not (
            state is MachineState.TAKEN and case.vm.spec.power is Power.OFF):
        case.draft.stall(case.target, STALLS[state], case.location.sentence)
    else:
        case.draft.remark(case.target, case.location.sentence,
                          unknown=state is MachineState.UNKNOWN)


def _is_ours(domain: DomainFacts, survey: Survey) -> bool:
    """Return whether a domain carries a mark of ours that was not copied along by a clone.

    A mark without a name, of an early version, counts.
    """
    mark = domain.ownership
    return mark is not None and (mark.name == "" or is_for(mark, domain, survey.specs.names))


def _diff_running(case: Case) -> None:
    vm, location, draft = case.vm, case.location, case.draft
    domain, host = location.domain, location.host
    assert domain is not None
    assert host is not None
    name = vm.name
    _report_conflicts(case)
    for silent, last in case.survey.last_seen.get(name, ()):
        if last.state.active:
            draft.remark(case.target, f"{name} runs on {host}; {silent}, which"
                         f" {case.survey.silence(silent)}, was last seen with it, too",
                         unknown=True)
    if vm.spec.power is Power.OFF:
        draft.do(ShutDownDomain(
            target=case.target, node=host, domain=domain.name, uuid=domain.uuid,
            limit_s=vm.spec.shutdown_limit_s,
            reason=f"{name} is {domain.state} on {host} and declared off",
            consequence="clean shutdown", cause=case.cause))
        return
    if domain.state is not DomainState.RUNNING:
        _resume(case, host, domain)
        return
    _undefine_copies(case, domain, location.others)
    defined = plan_patches(case, host, domain)
    if case.goal is not None and case.goal != host:
        plan_migration(case, host, domain, defined)


def _resume(case: Case, host: str, domain: DomainFacts) -> None:
    name = case.vm.name
    blocker = start_blocker(name, host, case.survey)
    if domain.state is DomainState.PAUSED and domain.state_reason == "user" and blocker:
        case.draft.remark(case.target, f"{name} stays paused: {blocker}", unknown=True)
    elif domain.state is DomainState.PAUSED and domain.state_reason == "user":
        case.draft.do(ResumeDomain(
            target=case.target, node=host, domain=domain.name, uuid=domain.uuid, cause=case.cause,
            reason=f"{name} is paused on {host} and declared on", consequence="it runs on",
            ask=_in_maintenance(case, host, domain)))
    else:
        case.draft.stall(case.target, *paused_sentence(name, host, domain))


def _undefine_copies(case: Case, running: DomainFacts, others: tuple[Sighting, ...]) -> None:
    for host, domain in others:
        if not _is_copy(domain, running, case.survey):
            case.draft.stall(case.target, "SameName", (
                f"{host} has another domain of the name {domain.name}, with uuid {domain.uuid},"
                " which is off: it is left alone; rename one of the two"))
        elif host != case.goal and domain.persistent:
            case.draft.do(UndefineDomain(
                target=case.target, node=host, domain=domain.name, uuid=domain.uuid,
                reason=f"{case.vm.name} runs on {case.location.host}; {host} still has an old"
                       " definition of it, which is off",
                consequence="its disks there stay"))


def _is_copy(other: DomainFacts, running: DomainFacts, survey: Survey) -> bool:
    """Return whether a domain of the same name is a copy of this VM, and not another machine."""
    mark = other.ownership
    return other.uuid == running.uuid and (
        mark is None or mark.estate in survey.specs.names.estates)


def _report_conflicts(case: Case) -> None:
    """Report domains that only have the VM's name, and those that have its identity instead."""
    for host, domain in case.location.namesakes:
        case.draft.stall(case.target, "SameName", (
            f"{host} has another domain of the name {domain.name}, with uuid {domain.uuid}, which"
            f" is {domain.state}: it is left alone; rename one of the two"))
    rivals = case.location.rivals
    if rivals:
        name = case.vm.name
        case.draft.stall(case.target, "Taken", (
            f"{'; '.join(str(rival) for rival in rivals)}: {name} is not started, restarted,"
            f" moved or taken over while that is so; {way_out(name, rivals)}"))


def _copy_blocker(name: str, host: str, survey: Survey) -> str | None:
    """Return why a copy on a silent host prevents a start, since it may be the newer one."""
    for silent, last in survey.last_seen.get(name, ()):
        if last.state_reason != MIGRATED:
            return (f"{name} is not started on {host}: {silent} {survey.silence(silent)} and was"
                    " last seen with a copy of it, too, and nothing tells which one is right; bring"
                    f" {silent} back, or remove it from the specs")
    return None


def _in_maintenance(case: Case, host: str, domain: DomainFacts) -> Ask | None:
    """Return what is asked before a start on a host in maintenance: maybe a person stopped it."""
    if not case.survey.desired.hosts[host].spec.maintenance or domain.state_reason in FELL:
        return None
    name = case.vm.name
    return Ask("maintenance", (
        f"{host} is in maintenance and {name} is {domain.state} there"
        f" ({domain.state_reason or 'no reason given'}), perhaps by the hand of whoever works on"
        f" it: with a yes it goes on, and by itself once {host} is out of maintenance"))


def _diff_off(case: Case) -> None:
    vm, location = case.vm, case.location
    domain, host = location.domain, location.host
    assert domain is not None
    assert host is not None
    _report_conflicts(case)
    if vm.spec.power is Power.OFF:
        plan_patches(case, host, domain)
        if case.goal is not None and case.goal != host:
            case.draft.remark(case.target, f"{vm.name} is off on {host} and belongs on"
                              f" {case.goal}: it moves when it next runs")
        return
    moving = carried_by(vm.name, case.survey)
    if moving is not None:
        case.draft.remark(case.target, f"{vm.name} is off while it is moved ({moving.action_id})")
        return
    blocker = start_blocker(vm.name, host, case.survey) or _copy_blocker(
        vm.name, host, case.survey)
    defined = plan_patches(case, host, domain)
    if blocker is not None:
        case.draft.remark(case.target, blocker, unknown=True)
        return
    start = case.draft.do(StartDomain(
        target=case.target, node=host, domain=domain.name, uuid=domain.uuid, cause=case.cause,
        reason=f"{vm.name} is {domain.state} on {host}"
               f" ({domain.state_reason or 'no reason given'}) and declared on",
        consequence="it boots", ask=_in_maintenance(case, host, domain)),
        (defined,) if defined else (), vm.spec.start_order)
    if case.goal is not None and case.goal != host:
        plan_migration(case, host, domain, start)


WAYS: Final[Mapping[str, str]] = {
    "watchdog": "its watchdog fired because it hung: look at its console there, then"
                " `virsh resume {name}`, or `virsh reset {name}` and resume it",
    "crashed": "its kernel crashed: look at its console there, then `virsh destroy {name}`, and it"
               " is started again",
    "panicked": "its kernel crashed: look at its console there, then `virsh destroy {name}`, and it"
                " is started again",
    "shutting down": "it has shut down and its process stays: `virsh destroy {name}` there ends it,"
                     " and it is started again",
    "migrating": "a move of it broke off: see that no other host runs it, then"
                 " `virsh resume {name}` there",
    "post-copy": "a move of it broke off half-way, and part of its memory is on the other host:"
                 " `virsh migrate --postcopy-resume` brings the two together; never destroy it",
    "saving": "it is being saved, or that broke off: see `virsh domjobinfo {name}` there, and when"
              " no job runs, `virsh resume {name}`",
}
"""What to do, by libvirt's reason for the pause."""
ALIKE: Final[Mapping[str, str]] = {
    "post-copy failed": "post-copy", "dumping": "saving", "snapshot": "saving",
}


def paused_sentence(name: str, host: str, domain: DomainFacts) -> tuple[str, str]:
    """Return reason and sentence for a paused VM that only a person may resume."""
    why = domain.state_reason
    if domain.state is DomainState.SUSPENDED:
        return "Suspended", (f"{name} sleeps on {host}, as its own system asked for: nothing is"
                             f" done; `virsh dompmwakeup {name}` there wakes it")
    if why == "ioerror":
        return "PausedOnError", (
            f"{name} is paused on {host} because a disk of it could not be read or written: free"
            f" space in its pool, or bring the disk back, then `virsh resume {name}` there")
    way = WAYS.get(ALIKE.get(why, why))
    if way is not None:
        return "PausedForAReason", (f"{name} is {domain.state} on {host} ({why}): nothing is done;"
                                    f" {way.format(name=name)}")
    return "PausedForAReason", (
        f"{name} is {domain.state} on {host} ({why or 'no reason given'}): nothing is done; see"
        f" there why, then `virsh resume {name}`")
