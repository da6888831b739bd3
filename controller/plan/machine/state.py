"""Where a VM is: its state and location, and whether it may be started or created (law 3).

All that is done with a VM follows from its state, and only two states let one come to life:

    state         when                                             what may be done
    --------------------------------------------------------------------------------------------
    RUNNING       one active domain, nothing in motion             patch, move, shut down, copy
    OFF           one domain, off                                  patch, start, copy
    ABSENT        every host answered, and none has it             create
    BUSY          a libvirt job runs, it boots, stops or moves     wait
    UNKNOWN       it may be where nothing can be seen              wait
    SPLIT_BRAIN   two running copies                               nothing: a person decides
    AMBIGUOUS     several copies, all off, none surely newest      nothing: a person decides
    RENAMED       its libvirt name is one that nobody declared     copy
    TAKEN         another domain has its UUID, MAC or file,        nothing: a person decides
                  and it does not run itself

UNKNOWN is never ABSENT. ABSENT alone lets a VM be created, and a second copy of a VM that is alive
on a host that only fell silent would share its MACs and diverge from its disks; the copies of it
would then replace the good restore points. So ABSENT needs an answer from every host, from the
pools that might hold its disks, and from hosts that left the specs while they had it; whatever was
not answered makes it UNKNOWN. A VM that is seen OFF is safer: to start it, it is enough that every
silent host was last seen without it running (`start_blocker`).

Order of the questions: is it seen running twice; can it be read; is it in motion; is it running;
is it off; was it last seen on a host that is silent now. Then two more may overrule the answer:
whether its name was changed by hand, and whether other domains have its identity.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from controller.model.document import Rung
from controller.model.facts import DomainFacts, DomainState, runs
from controller.model.virtual_machine import VirtualMachine
from controller.plan.actions.action import Cause
from controller.plan.actions.failover import MoveDomain
from controller.plan.guarding.isolation import isolation_blocker
from controller.plan.steps.draft import Draft, cause_of
from controller.plan.survey.context import InFlight
from controller.plan.survey.identity import Rival, Sighting, domain_uuids, is_for
from controller.plan.survey.namesakes import of_another_uuid, quoted, way_out
from controller.plan.survey.replicas import ReplicaIndex
from controller.plan.survey.survey import Survey

MIGRATED = "migrated"
STARTING = "starting up"
OUTGOING = "Outgoing migration"
COPYING = "backup"
IN_MOTION = frozenset({DomainState.INCOMING, DomainState.SHUTTING_DOWN})


class MachineState(StrEnum):
    """The states that a VM can be in; the table above says when and what then."""

    RUNNING = "running"
    OFF = "off"
    ABSENT = "absent"
    BUSY = "busy"
    UNKNOWN = "unknown"
    SPLIT_BRAIN = "split brain"
    AMBIGUOUS = "ambiguous"
    RENAMED = "renamed"
    TAKEN = "taken"


class Location(NamedTuple):
    """The state of a VM and the host it is on; `sentence` says why nothing is done, if so."""

    state: MachineState
    host: str | None = None
    domain: DomainFacts | None = None
    others: tuple[Sighting, ...] = ()
    """Further copies, which are off."""
    sentence: str = ""
    rivals: tuple[Rival, ...] = ()
    """Domains of other VMs that have its UUID, a MAC or a file of it."""
    namesakes: tuple[Sighting, ...] = ()
    """Other machines that only have its name in libvirt."""


def locate(name: str, survey: Survey) -> Location:
    """Return the state and location of a VM."""
    seen = survey.sightings.get(name, ())
    rivals = survey.identities.rivals.get(name, ())
    if len(seen) == 1 and name not in survey.last_seen and not rivals:
        host, domain = seen[0]
        if (domain.state is DomainState.RUNNING and domain.job is None
                and domain.name == survey.specs.names.libvirt_name(name)
                and not domain.unknown):
            return Location(MachineState.RUNNING, host, domain)
    itself, namesakes = _apart(name, seen, survey) if len(seen) > 1 else (seen, ())
    found = _located(name, itself, survey)
    if not itself:
        found = _unseen(name, survey)
        other = of_another_uuid(name, survey)
        if other is not None and found.state in {MachineState.ABSENT, MachineState.UNKNOWN}:
            found = Location(MachineState.TAKEN, sentence=other)
        vm = survey.desired.virtual_machines.get(name)
        rivals = survey.identities.awaiting(
            name, domain_uuids(survey.specs.names, name),
            () if vm is None else (nic.mac for nic in vm.spec.nics))
    if namesakes:
        found = found._replace(namesakes=namesakes)
    found = _by_its_name(name, found, survey)
    return _contested(name, found, rivals) if rivals else found


def _apart(name: str, seen: tuple[Sighting, ...],
           survey: Survey) -> tuple[tuple[Sighting, ...], tuple[Sighting, ...]]:
    """Return the copies of a VM, and the machines that only have its name.

    If no domain carries the VM's mark, they cannot be told apart, and all count as copies.
    """
    names = survey.specs.names
    sure = [one.domain for one in seen if is_for(one.domain.ownership, one.domain, names)]
    if not sure:
        return seen, ()
    known = {domain.uuid for domain in sure}
    cards = set[str]().union(*map(_cards, sure))
    itself = tuple(one for one in seen if one.domain in sure or one.domain.uuid in known
                   or not cards.isdisjoint(_cards(one.domain)))
    return itself, tuple(one for one in seen if one not in itself)


def _cards(domain: DomainFacts) -> set[str]:
    return {nic.mac.lower() for config in (domain.live, domain.config) if config is not None
            for nic in config.nics if nic.mac}


def _by_its_name(name: str, found: Location, survey: Survey) -> Location:
    """Return the location, or RENAMED if the domain's libvirt name was given by hand."""
    domain = found.domain
    called = survey.specs.names.libvirt_name(name)
    if (domain is None or domain.name == called
            or found.state not in {MachineState.RUNNING, MachineState.OFF}):
        return found
    mark, names = domain.ownership, survey.specs.names
    if domain.name in names.formers.get(name, ()) or (
            mark is not None and is_for(mark, domain, names) and mark.domain == domain.name):
        return found
    return found._replace(state=MachineState.RENAMED, sentence=(
        f"{name} is {domain.state} on {found.host} under the name {domain.name}: it is neither"
        f" started, changed nor moved; shut it down and `virsh domrename {quoted(domain.name)}"
        f" {quoted(called)}` there, or declare `domain: {domain.name}` for it"))


def _contested(name: str, found: Location, rivals: tuple[Rival, ...]) -> Location:
    """Return the location of a VM while other domains have its UUID, a MAC or a file of it."""
    conflicts = "; ".join(str(rival) for rival in rivals)
    running = found.domain is not None and runs(found.domain)
    double = [rival for rival in rivals
              if rival.claim.runs and not rival.claim.unseen and rival.doubles]
    if running and double:
        others = " and ".join(f"{one.claim.domain.name} on {one.claim.host}" for one in double)
        return Location(MachineState.SPLIT_BRAIN, rivals=rivals, sentence=(
            f"SPLIT BRAIN: {name} runs on {found.host} and so does {others}:"
            f" {conflicts}; nothing automatic is done; decide which one is right and destroy the"
            " other by hand"))
    if found.state in {MachineState.RUNNING, MachineState.BUSY, MachineState.UNKNOWN,
                       MachineState.SPLIT_BRAIN}:
        return found._replace(rivals=rivals)
    return found._replace(state=MachineState.TAKEN, rivals=rivals, sentence=(
        f"{conflicts}: nothing of {name} is created, defined, started or moved;"
        f" {way_out(name, rivals)}"))


def _located(name: str, seen: tuple[Sighting, ...], survey: Survey) -> Location:
    """Return the location of a VM by its own domains alone."""
    running = tuple(each for each in seen if runs(each.domain))
    if len(running) > 1 and any(        # moved by us: its two ends are not seen at one instant
            flight.target == f"VirtualMachine/{name}" and flight.rung is Rung.MIGRATE
            for flight in survey.context.in_flight):
        return Location(MachineState.BUSY, running[0].host, running[0].domain, sentence=(
            f"{name} is being moved by us: both ends are looked at when it ends"))
    leaving = next((each for each in running if each.domain.job == OUTGOING), None)
    if len(running) > 1 and leaving is not None:
        return Location(MachineState.BUSY, leaving.host, leaving.domain,
                     sentence=_why_busy(name, leaving))
    if len(running) > 1:
        hosts = " and ".join(each.host if each.domain.name == name else
                             f"{each.host} (as {each.domain.name})" for each in running)
        return Location(MachineState.SPLIT_BRAIN, sentence=(
            f"TWO RUNNING COPIES of {name}, on {hosts}: nothing automatic is done;"
            " decide which one is right and destroy the other by hand"))
    unread = next((each for each in seen if each.domain.unknown), None)
    if unread is not None:
        return Location(MachineState.UNKNOWN, unread.host, unread.domain, sentence=(
            f"{name} on {unread.host} could not be read: {unread.domain.unknown}: nothing is done"
            " about it"))
    moving = next((each for each in seen if (each.domain.job is not None or _starts(each.domain)
                                             or each.domain.state in IN_MOTION)
                   and not _we_copy_it(name, each.domain, survey)), None)
    if moving is not None:
        return Location(MachineState.BUSY, (running or (moving,))[0].host, moving.domain,
                     sentence=_why_busy(name, moving))
    if running:
        host, domain = running[0]
        return Location(MachineState.RUNNING, host, domain,
                     tuple(each for each in seen if each != running[0]))
    return _off(name, seen, survey) if seen else Location(MachineState.ABSENT)


def carried_by(name: str, survey: Survey) -> InFlight | None:
    """Return our planned move of a VM that is in flight: it is off meanwhile, and starts by it."""
    return next((flight for flight in survey.context.in_flight
                 if flight.target == f"VirtualMachine/{name}"
                 and flight.action_id.startswith(f"{MoveDomain.verb}:")), None)


def _we_copy_it(name: str, domain: DomainFacts, survey: Survey) -> bool:
    """Return whether the job on a domain is our own backup job, which does not disturb it."""
    return (domain.job is not None and domain.job.lower() == COPYING
            and domain.state is DomainState.RUNNING
            and any(flight.target == f"Replica/{name}" for flight in survey.context.in_flight))


def _starts(domain: DomainFacts) -> bool:
    """Return whether a domain is starting: libvirt shows it as paused until it runs."""
    return domain.state is DomainState.PAUSED and domain.state_reason == STARTING


def _why_busy(name: str, seen: Sighting) -> str:
    if seen.domain.state is DomainState.SHUTTING_DOWN:
        return f"{name} is shutting down on {seen.host}: it is left to end"
    if _starts(seen.domain):
        return f"{name} is starting on {seen.host}: it is left to boot"
    if seen.domain.state is DomainState.INCOMING:
        return f"{name} is being received by {seen.host}: nothing else is done until that ends"
    return (f"{name} has a libvirt job running on {seen.host} ({seen.domain.job}):"
            " nothing else is done until that ends")


def _off(name: str, seen: tuple[Sighting, ...], survey: Survey) -> Location:
    if len(seen) == 1 and seen[0].domain.state_reason != MIGRATED:
        return Location(MachineState.OFF, seen[0].host, seen[0].domain)
    fresh = tuple(each for each in seen if each.domain.state_reason != MIGRATED)
    if len(fresh) == 1:
        return Location(MachineState.OFF, fresh[0].host, fresh[0].domain,
                     tuple(each for each in seen if each != fresh[0]))
    hosts = " and ".join(each.host for each in seen)
    if fresh:
        return Location(MachineState.AMBIGUOUS, sentence=(
            f"{name} is defined and off on {hosts}, and nothing tells which copy is the right"
            " one: undefine the other by hand"))
    if survey.unreachable:
        host = next(iter(survey.unreachable))
        return Location(MachineState.UNKNOWN, sentence=(
            f"{name} was migrated away from {hosts}, and {host} {survey.silence(host)}:"
            " it may run there, so nothing is started"))
    removed = {host for host, _ in survey.on_removed_hosts.get(name, ())}
    for host, domains in survey.removed_hosts.items():
        if domains is None or host in removed:
            return Location(MachineState.UNKNOWN, sentence=(
                f"{name} was migrated away from {hosts}, and {host} left the specs: it may run"
                f" there, so nothing is started; declare {host} again"))
    return Location(MachineState.AMBIGUOUS, sentence=(
        f"{name} was migrated away from {hosts} and is on no other host: its copy on {hosts} may"
        " be old; look at its disks, and start it by hand where they are right"))


def _unseen(name: str, survey: Survey) -> Location:
    for host, _ in survey.last_seen.get(name, ()):
        return Location(MachineState.UNKNOWN, sentence=(
            f"{name} was last seen on {host}, which {survey.silence(host)}: nothing is done"))
    blocker = creation_blocker(name, survey)
    if blocker is not None:
        return Location(MachineState.UNKNOWN, sentence=blocker)
    return Location(MachineState.ABSENT)


def start_blocker(name: str, host: str, survey: Survey) -> str | None:
    """Return why a VM must not be started on a host.

    None if it surely runs nowhere else, and neither guard nor grantor forbids it there.
    """
    return isolation_blocker(name, host, survey) or _elsewhere_blocker(name, host, survey)


def _elsewhere_blocker(name: str, host: str, survey: Survey) -> str | None:
    for other, domain in survey.sightings.get(name, ()):
        if other != host and domain.state.active:
            return f"{name} is not started on {host}: it is {domain.state} on {other}"
    for other, unreachable in survey.unreachable.items():
        if other == host:
            continue
        if unreachable.domains is None:
            return (f"{name} is not started on {host}: {other} has never been seen and might run"
                    f" it; bring {other} back, or remove it from the specs")
        last = _active_on(survey.last_seen.get(name, ()), other)
        if last is not None:
            return (f"{name} is not started on {host}: {other} {survey.silence(other)} and was"
                    f" last seen with it {last.state}; {_way_out(other, survey)}")
    for other, domains in survey.removed_hosts.items():
        if domains is None:
            return f"{name} is not started on {host}: {_unseen_after_removal(other)}"
        last = _active_on(survey.on_removed_hosts.get(name, ()), other)
        if last is not None:
            return (f"{name} is not started on {host}: {_on_removed_host(name, other, last)} or"
                    f" shut {name} down there first")
    return None


def _active_on(seen: tuple[Sighting, ...], host: str) -> DomainFacts | None:
    """Return the domain that was active on a host when that was last seen."""
    return next((domain for where, domain in seen if where == host and domain.state.active), None)


def _way_out(host: str, survey: Survey) -> str:
    """Return what clears a silent host; one whose libvirt alone is silent cannot be removed."""
    if host in survey.nodes:
        return f"bring libvirt on {host} back"
    return f"bring {host} back, or make sure that it is off and remove it from the specs"


def _on_removed_host(name: str, host: str, last: DomainFacts) -> str:
    """Return why a host that was removed from the specs while it answered still counts."""
    return (f"{host} left the specs while it answered, and {name} was last seen there {last.state};"
            f" declare {host} again, and move {name}")


def _unseen_after_removal(host: str) -> str:
    return (f"{host} left the specs while something was done there, and was not seen afterwards;"
            f" declare {host} again")


def creation_blocker(name: str, survey: Survey) -> str | None:
    """Return why a VM must not be created; None if every host answered that it is not there."""
    if name in survey.epochs:
        return (f"{name} is not created: it failed over with epoch {survey.epochs[name]}, and no"
                " host that answers has that copy")
    for host in survey.unreachable:
        return (f"{name} is not created: {host} {survey.silence(host)} and might hold it;"
                f" bring {host} back, or remove it from the specs")
    for host in survey.pools_unknown:
        return (f"{name} is not created: the pools of {host} could not be seen and might hold"
                " its disks")
    declared = survey.desired.virtual_machines.get(name)
    for disk in declared.spec.disks if declared is not None and survey.unreadable_pools else ():
        if disk.is_pooled and disk.pool in survey.unreadable_pools:
            host, why = survey.unreadable_pools[disk.pool]
            return (f"{name} is not created: pool {disk.pool} of {host} might hold its disks and"
                    f" could not be seen ({why})")
    for host, domains in survey.removed_hosts.items():
        if domains is None:
            return f"{name} is not created: {_unseen_after_removal(host)}"
        for where, last in survey.on_removed_hosts.get(name, ()):
            if where == host:
                return (f"{name} is not created: {_on_removed_host(name, host, last)} or undefine"
                        " it there first")
    return None


@dataclass(frozen=True, slots=True)
class Case:
    """One VM under consideration: its spec, where it is, and where it should be."""

    vm: VirtualMachine
    location: Location
    goal: str | None
    """The host that placement chose; None if it found none."""
    why: str
    """Why it should move to `goal`, or why there is no goal."""
    survey: Survey
    replicas: ReplicaIndex
    draft: Draft

    @property
    def target(self) -> str:
        """Return `VirtualMachine/name`."""
        return f"VirtualMachine/{self.vm.metadata.name}"

    @property
    def cause(self) -> Cause:
        """Return COMMIT if the specs of the VM or of its networks changed, else DRIFT."""
        return cause_of(self.survey.context, self.target,
                        *(f"Network/{nic.network}" for nic in self.vm.spec.nics if nic.network))


def pool_first(host: str, pool: str) -> str:
    """Return the id of the action that creates a pool, should one be planned."""
    return f"create-pool:Host/{host}@{host}/{pool}"


def bridge_first(host: str) -> str:
    """Return the id of the action that creates a host's bridge, should one be planned."""
    return f"create-bridge:Host/{host}@{host}"
