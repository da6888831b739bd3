"""Where one VM stands, and whether it may be started or created: the law of the single copy.

* RUNNING   one active copy, nothing in motion
* OFF       one copy, off
* NOWHERE   every host answered and none has it
* MOVING    a job of libvirt is running on it, or a copy is being received
* HIDDEN    it may be on a host that does not answer
* DOUBLE    two running copies: loud, and nothing automatic
* SPLIT     several copies, none running, and no way to tell which is the newest
"""

from enum import StrEnum
from typing import NamedTuple

from controller.model.document import Rung
from controller.model.facts import DomainFacts, DomainState
from controller.plan.survey import Sighting, Survey

MIGRATED = "migrated"
STARTING = "starting up"
OUTGOING = "Outgoing migration"
COPYING = "backup"


class Standing(StrEnum):
    """The seven ways in which a VM can stand."""

    RUNNING = "running"
    OFF = "off"
    NOWHERE = "nowhere"
    MOVING = "moving"
    HIDDEN = "hidden"
    DOUBLE = "double"
    SPLIT = "split"


class Stand(NamedTuple):
    """Where a VM stands; `sentence` says why nothing can be done, where nothing can."""

    standing: Standing
    host: str | None = None
    domain: DomainFacts | None = None
    others: tuple[Sighting, ...] = ()
    """Copies that are off while this one runs."""
    sentence: str = ""


def runs(domain: DomainFacts) -> bool:
    """Return whether this is a running copy; one that is being received is none."""
    return domain.state.active and domain.state is not DomainState.INCOMING


def stand(name: str, survey: Survey) -> Stand:
    """Return where VM `name` stands."""
    seen = survey.sightings.get(name, ())
    if len(seen) == 1 and name not in survey.ghosts:
        host, domain = seen[0]
        if domain.state is DomainState.RUNNING and domain.job is None:
            return Stand(Standing.RUNNING, host, domain)
    running = tuple(each for each in seen if runs(each.domain))
    if len(running) > 1 and _we_move_it(name, survey):
        return Stand(Standing.MOVING, running[0].host, running[0].domain,
                     sentence=f"{name} is being moved by us: both ends are looked at when it ends")
    leaving = next((each for each in running if each.domain.job == OUTGOING), None)
    if len(running) > 1 and leaving is not None:
        return Stand(Standing.MOVING, leaving.host, leaving.domain,
                     sentence=_motion(name, leaving))
    if len(running) > 1:
        return Stand(Standing.DOUBLE, sentence=_double(name, running))
    moving = next((each for each in seen if _in_motion(each.domain)
                   and not _we_copy_it(name, each.domain, survey)), None)
    if moving is not None:
        return Stand(Standing.MOVING, (running or (moving,))[0].host, moving.domain,
                     sentence=_motion(name, moving))
    if running:
        host, domain = running[0]
        return Stand(Standing.RUNNING, host, domain,
                     tuple(each for each in seen if each.host != host))
    return _off(name, seen, survey) if seen else _unseen(name, survey)


def _we_move_it(name: str, survey: Survey) -> bool:
    """Return whether a move of ours is under way; its two ends are not seen at one instant."""
    return any(flight.target == f"VirtualMachine/{name}" and flight.rung is Rung.MIGRATE
               for flight in survey.policy.in_flight)


def _we_copy_it(name: str, domain: DomainFacts, survey: Survey) -> bool:
    """Return whether the job on a domain is our own copy of it, which leaves it as it is."""
    return (domain.job is not None and domain.job.lower() == COPYING
            and domain.state is DomainState.RUNNING
            and any(flight.target == f"Replica/{name}" for flight in survey.policy.in_flight))


def _in_motion(domain: DomainFacts) -> bool:
    return (domain.job is not None or _starts(domain)
            or domain.state in {DomainState.INCOMING, DomainState.SHUTTING_DOWN})


def _starts(domain: DomainFacts) -> bool:
    """Return whether libvirt is about to let it run: until then it shows it as paused."""
    return domain.state is DomainState.PAUSED and domain.state_reason == STARTING


def _motion(name: str, seen: Sighting) -> str:
    if seen.domain.state is DomainState.SHUTTING_DOWN:
        return f"{name} is shutting down on {seen.host}: it is left to end"
    if _starts(seen.domain):
        return f"{name} is starting on {seen.host}: it is left to boot"
    if seen.domain.state is DomainState.INCOMING:
        return f"{name} is being received by {seen.host}: nothing else is done until that ends"
    return (f"{name} has a libvirt job running on {seen.host} ({seen.domain.job}):"
            " nothing else is done until that ends")


def _double(name: str, running: tuple[Sighting, ...]) -> str:
    hosts = " and ".join(each.host for each in running)
    return (f"TWO RUNNING COPIES of {name}, on {hosts}: nothing automatic is done;"
            " decide which one is right and destroy the other by hand")


def _off(name: str, seen: tuple[Sighting, ...], survey: Survey) -> Stand:
    if len(seen) == 1 and seen[0].domain.state_reason != MIGRATED:
        return Stand(Standing.OFF, seen[0].host, seen[0].domain)
    fresh = tuple(each for each in seen if each.domain.state_reason != MIGRATED)
    if len(fresh) == 1:
        return Stand(Standing.OFF, fresh[0].host, fresh[0].domain,
                     tuple(each for each in seen if each != fresh[0]))
    hosts = " and ".join(each.host for each in seen)
    if fresh:
        return Stand(Standing.SPLIT, sentence=(
            f"{name} is defined and off on {hosts}, and nothing tells which copy is the right"
            " one: undefine the other by hand"))
    if survey.blind:
        host = next(iter(survey.blind))
        return Stand(Standing.HIDDEN, sentence=(
            f"{name} was migrated away from {hosts}, and {host} {survey.silence(host)}:"
            " it may run there, so nothing is started"))
    for host, domains in survey.departed.items():
        if domains is None or name in domains:
            return Stand(Standing.HIDDEN, sentence=(
                f"{name} was migrated away from {hosts}, and {host} left the specs: it may run"
                f" there, so nothing is started; declare {host} again"))
    return Stand(Standing.SPLIT, sentence=(
        f"{name} was migrated away from {hosts} and is on no other host: its copy on {hosts} may"
        " be old; look at its disks, and start it by hand where they are right"))


def _unseen(name: str, survey: Survey) -> Stand:
    for host, _ in survey.ghosts.get(name, ()):
        return Stand(Standing.HIDDEN, sentence=(
            f"{name} was last seen on {host}, which {survey.silence(host)}: nothing is done"))
    blocker = creation_blocker(name, survey)
    if blocker is not None:
        return Stand(Standing.HIDDEN, sentence=blocker)
    return Stand(Standing.NOWHERE)


def start_blocker(name: str, host: str, survey: Survey) -> str | None:
    """Return why `name` must not be started on `host`; None when it is seen to run nowhere else."""
    for other, domain in survey.sightings.get(name, ()):
        if other != host and domain.state.active:
            return f"{name} is not started on {host}: it is {domain.state} on {other}"
    for other, blind in survey.blind.items():
        if other == host:
            continue
        if blind.domains is None:
            return (f"{name} is not started on {host}: {other} has never been seen and might run"
                    f" it; bring {other} back, or remove it from the specs")
        last = blind.domains.get(name)
        if last is not None and last.state.active:
            return (f"{name} is not started on {host}: {other} {survey.silence(other)} and was"
                    f" last seen with it {last.state}; {_way_out(other, survey)}")
    for other, domains in survey.departed.items():
        if domains is None:
            return f"{name} is not started on {host}: {_parted_unseen(other)}"
        if name in domains and domains[name].state.active:
            return (f"{name} is not started on {host}: {_parted(name, other, domains[name])} or"
                    f" shut {name} down there first")
    return None


def _way_out(host: str, survey: Survey) -> str:
    """Return what clears a silent host; one that answers still has to be seen before it leaves."""
    if host in survey.nodes:
        return f"bring libvirt on {host} back"
    return f"bring {host} back, or make sure that it is off and remove it from the specs"


def _parted(name: str, host: str, last: DomainFacts) -> str:
    """Return why a host that left the specs while it answered still counts, and what now."""
    return (f"{host} left the specs while it answered, and {name} was last seen there {last.state};"
            f" declare {host} again, and move {name}")


def _parted_unseen(host: str) -> str:
    return (f"{host} left the specs while something was done there, and was not seen afterwards;"
            f" declare {host} again")


def creation_blocker(name: str, survey: Survey) -> str | None:
    """Return why `name` must not be created anywhere; None when every host said it is not there."""
    for host in survey.blind:
        return (f"{name} is not created: {host} {survey.silence(host)} and might hold it;"
                f" bring {host} back, or remove it from the specs")
    for host in survey.poolless:
        return (f"{name} is not created: the pools of {host} could not be seen and might hold"
                " its disks")
    for host, domains in survey.departed.items():
        if domains is None:
            return f"{name} is not created: {_parted_unseen(host)}"
        if name in domains:
            return (f"{name} is not created: {_parted(name, host, domains[name])} or undefine"
                    " it there first")
    return None
