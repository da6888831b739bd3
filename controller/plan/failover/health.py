"""How far the promotion of a VM has come, and whether a VM serves.

What proves that is declared (`health`): that it boots, that its guest agent answers, that a port
accepts connections, that it answers pings. Hosts ask (`probing.py`); this judges what they found:

    starting              it runs, its time is not over, and something is not seen yet
    healthy               all that is declared was seen, with from where
    started, not proven   its time is over, and something has not answered: who knows why
    unhealthy             its time is over, and what answered shows that it does not serve

Rule 1: silence never makes a VM unhealthy: what lies between may be broken.
Rule 2: nothing here starts, ends or moves anything. It lets the next wave go, and is shown.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from controller.failover.situation import Progress
from controller.model.facts import DomainFacts, DomainState, Known, runs
from controller.model.failover.record import Record
from controller.model.failover.serving import Answer, ServingFacts, Word
from controller.model.protection_policy import HealthSpec
from controller.model.units import render_duration
from controller.plan.actions.promotion import PromoteReplica
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.survey.epochs import epoch_of
from controller.plan.survey.survey import Survey

Told = tuple[tuple[str, ServingFacts], ...]
"""What hosts found out of one guest, each with the host's name."""


class Health(NamedTuple):
    """How a VM does, and what was seen of it, from where."""

    progress: Progress
    sentence: str


class Question(NamedTuple):
    """One thing that was asked of a guest."""

    proof: str
    lack: str
    answers: tuple[tuple[str, Answer], ...]


def progress_of(protected: ProtectedMachine, record: Record | None, survey: Survey) -> Health:
    """Return how far a VM's promotion has come on the host that its record names, and why."""
    name = protected.name
    if record is None:
        return Health(Progress.WAITING, "")
    node = record.machines[name].node
    here = next((one.domain for one in survey.sightings.get(name, ()) if one.host == node
                 and epoch_of(one.domain, survey.specs.names) == record.epoch), None)
    starting = any(flight.target == f"VirtualMachine/{name}" and flight.action_id.startswith(
        PromoteReplica.verb) for flight in survey.context.in_flight)
    if here is not None and runs(here):
        health = protected.policy.health
        told = told_of(here.uuid, node, survey) if health.asks else ()
        ran_for_s = 0.0 if starting else _ran_for_s(name, here.uuid, record, survey)
        return health_of(here, health, ran_for_s, told)
    if starting:
        return Health(Progress.STARTING, f"it is being started on {node}")
    if here is not None and (protected.current is None or protected.current.host != node):
        return _off_again(node, protected.policy.health, survey.now_s - survey.context.promoted.get(
            name, record.began_at))
    return Health(Progress.WAITING, "")


def _off_again(node: str, health: HealthSpec, since_s: float) -> Health:
    """Return what is said of a VM that was promoted, and is off: it is started as any other."""
    progress = Progress.STARTING if since_s < health.within_s else Progress.UNPROVEN
    return Health(progress, f"it was started on {node}, and is off there now")


def _ran_for_s(name: str, uuid: str, record: Record, survey: Survey) -> float:
    """Return for how long a promoted VM has run: as its host says, else as we remember it."""
    own_s = ran_s(uuid, record.machines[name].node, survey)
    if own_s is not None:
        return own_s
    return survey.now_s - survey.context.promoted.get(name, record.began_at)


def told_of(uuid: str, host: str, survey: Survey) -> Told:
    """Return what was found out of a guest by the host that runs it, then by others of the site."""
    spec = survey.desired.hosts.get(host)
    site = survey.hosts_of_site.get(spec.spec.site, ()) if spec is not None else ()
    found = ((name, _serving(name, survey).get(uuid))
             for name in (host, *(one for one in site if one != host)))
    return tuple((name, facts) for name, facts in found if facts is not None)


def all_told(survey: Survey) -> dict[str, Told]:
    """Return by UUID what was found out of every guest, sorted by host."""
    found: dict[str, Told] = {}
    for name in sorted(survey.nodes):
        for uuid, facts in _serving(name, survey).items():
            found[uuid] = (*found.get(uuid, ()), (name, facts))
    return found


def _serving(node: str, survey: Survey) -> Mapping[str, ServingFacts]:
    facts = survey.nodes.get(node)
    return facts.serving.value if facts is not None and isinstance(facts.serving, Known) else {}


def ran_s(uuid: str, host: str, survey: Survey) -> float | None:
    """Return for how long the process of a VM has run; None if nobody knows."""
    facts = survey.nodes.get(host)
    serving = _serving(host, survey).get(uuid)
    if facts is None or serving is None or serving.began_at is None:
        return None
    return max(0.0, survey.now_s + facts.clock_offset_s - serving.began_at)


def health_of(domain: DomainFacts, health: HealthSpec, ran_for_s: float, told: Told = ()) -> Health:
    """Return whether a VM that runs serves as its policy wants it to."""
    ways = tuple(_ways(health, told))
    lacking = [one for one in ways if not _proves(one)]
    stopped = domain.state in {DomainState.PAUSED, DomainState.SUSPENDED}
    boots = _not_booted(health, ran_for_s, told)
    if not lacking and not stopped and not boots:
        return Health(Progress.HEALTHY, "; ".join(_proof(one) for one in ways) or "it runs")
    why = [f"it is {domain.state} ({domain.state_reason})"] if stopped else []
    why += [*([boots] if boots else ()), *(_lack(one) for one in lacking)]
    if ran_for_s < max(health.within_s, health.boots_s):
        return Health(Progress.STARTING, f"it runs, and is not proven yet: {'; '.join(why)}")
    denied = stopped or any(answer.word is Word.DENIES for one in lacking
                            for _, answer in one.answers)
    return Health(Progress.UNHEALTHY if denied else Progress.UNPROVEN,
                  f"{'; '.join(why)}; it was waited for {render_duration(health.within_s)}")


def _ways(health: HealthSpec, told: Told) -> Iterator[Question]:
    if health.agent:
        yield Question("its guest agent answers", "its guest agent does not answer",
                  tuple((host, one.agent) for host, one in told if one.agent is not None))
    if health.tcp is not None:
        yield Question(f"port {health.tcp} accepts connections",
                  f"port {health.tcp} accepts no connection",
                  tuple((host, one.tcp) for host, one in told if one.tcp is not None))
    if health.ping:
        yield Question("it answers pings", "it answers no ping",
                  tuple((host, one.ping) for host, one in told if one.ping is not None))


def _proves(way: Question) -> bool:
    """Return whether somebody saw it; another card's answer to one host outweighs that."""
    words = {answer.word for _, answer in way.answers}
    return Word.ANSWERS in words and Word.DENIES not in words


def _proof(way: Question) -> str:
    host, answer = next(one for one in way.answers if one[1].word is Word.ANSWERS)
    return f"{way.proof}, asked from {host}{f' {answer.sentence}' if answer.sentence else ''}"


def _lack(way: Question) -> str:
    asked = [f"asked from {host}: {answer.sentence or answer.word}" for host, answer in way.answers
             if answer.word is not Word.ANSWERS]
    return f"{way.lack} ({', '.join(asked) or 'nobody has asked it yet'})"


def _not_booted(health: HealthSpec, ran_for_s: float, told: Told) -> str:
    """Return what a VM lacks that has to have booted; empty if nothing."""
    if ran_for_s < health.boots_s:
        return f"it has not run for {render_duration(health.boots_s)} yet"
    if health.boots_s and any(one.reads is False for _, one in told):
        return "it has not read of its disks"
    return ""
