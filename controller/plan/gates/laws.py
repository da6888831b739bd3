"""The laws, checked once more against the finished, ordered list of steps, whatever produced it.

Every part of the plan keeps the laws by itself. This is the second, independent look: it reads only
the steps and the facts, none of the reasoning behind them, and so catches a mistake in that. A
breach that it finds is a bug. These can be told from steps and facts alone:

* Unknown is never absent: no step acts on a node that does not answer.
* Never two running copies: no VM is begun on two hosts, beside a copy that runs under any name, or
  anew while a silent host had it when last seen.
* The last good restore point is kept: no point goes that is the newest or the last sound one, and
  no replica goes before a newer one elsewhere is sound.
* No VM that has restore points and is on no host is begun anew with empty disks.
* No VM is promoted without a record that proves off each silent host that had it running.

Rule 1: a step that would break a law has every step of its target refused, loudly; the steps of all
        other targets go on. No gate, grant or approval lifts that.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Final

from controller.model.facts import DomainFacts, Known, Observed, runs
from controller.model.replica import ReplicaFacts
from controller.plan.actions.action import Action
from controller.plan.actions.machine import DefineDomain, ResumeDomain, StartDomain
from controller.plan.actions.promotion import PromoteReplica
from controller.plan.actions.replica import (
    DropPoints,
    RemoveReplica,
    ReplicateDomain,
    RetirePoints,
    VerifyReplica,
)
from controller.plan.actions.storage import CreateDisk
from controller.plan.steps.plan import Breach, Ruling, Step, Verdict
from controller.plan.survey.replicas import replicas_on, sound
from controller.plan.survey.silence import last_of

LAW: Final = "law"
BEGINS: Final = (StartDomain, ResumeDomain, DefineDomain, CreateDisk)


def strike(steps: tuple[Step, ...], observed: Observed) -> tuple[Step, ...]:
    """Return the steps, with all steps refused of each target that would break a law."""
    broken = breaches(steps, observed)
    if not broken:
        return steps
    return tuple(Step(step.action, step.after, Ruling(
        Verdict.REFUSED, LAW, f"a law forbids it: {broken[step.action.target]}",
        "nothing but what is seen; look there, and report this")) if step.action.target in broken
        else step for step in steps)


def breaches(steps: tuple[Step, ...], observed: Observed) -> Mapping[str, str]:
    """Return a sentence for each target whose steps would break a law: the first such law."""
    found: dict[str, str] = {}
    for breach in chain(_on_silent_nodes(steps, observed), _copies(steps, observed),
                        breaches_of_promotion(steps, observed),
                        breaches_of_identity(steps, observed),
                        breaches_of_points(steps, observed)):
        found.setdefault(*breach)
    return found


def _on_silent_nodes(steps: tuple[Step, ...], observed: Observed) -> Iterator[Breach]:
    for step in steps:
        for node in step.action.nodes:
            if not isinstance(observed.nodes.get(node), Known):
                yield Breach(step.action.target, "unknown is never absent:"
                             f" {step.action.id} would act on {node}, which does not answer")


def _copies(steps: tuple[Step, ...], observed: Observed) -> Iterator[Breach]:
    begun: dict[str, Action] = {}
    for step in steps:
        action = step.action
        if not isinstance(action, BEGINS):
            continue
        name = action.target.partition("/")[2]
        other = begun.setdefault(name, action)
        if other.node != action.node:
            yield Breach(action.target, f"never two running copies: {name} would be begun on"
                         f" {other.node} and on {action.node}")
        if not isinstance(action, CreateDisk):
            begun[name] = action
    yield from _second_copies({name: action for name, action in begun.items()
                               if not isinstance(action, CreateDisk)}, observed)
    yield from _made_beside_another(begun, observed)


def _second_copies(begun: dict[str, Action], observed: Observed) -> Iterator[Breach]:
    """Yield each VM to begin that runs on another host, or did when that was last seen.

    Defining a domain that already runs on the same host begins no copy.
    """
    new = {_called(name, action): action for name, action in begun.items() if not (
        isinstance(action, DefineDomain)
        and _runs_at(action.desired.name, action.node, observed))}
    for host in observed.nodes if new else ():
        domains = _last_domains(host, observed)
        for name in sorted(new.keys() & domains.keys()):
            domain, action = domains[name], new[name]
            if host != action.node and runs(domain):
                yield Breach(action.target, f"never two running copies: {action.id}, but {name} is"
                             f" {domain.state} on {host}, as far as {host} could be seen")


def _made_beside_another(begun: dict[str, Action], observed: Observed) -> Iterator[Breach]:
    """Yield each VM to define that a silent host, or one removed from the specs, had last."""
    new = {action.desired.name: action for action in begun.values()
           if isinstance(action, DefineDomain)
           and not _runs_at(action.desired.name, action.node, observed)}
    for host, fact in observed.nodes.items() if new else ():
        if not isinstance(fact, Known):
            for name in sorted(new.keys() & _last_domains(host, observed).keys()):
                yield Breach(new[name].target, f"never two copies: {new[name].id}, but {host} had"
                             f" {name} when it was last seen")


def _called(name: str, action: Action) -> str:
    """Return what libvirt calls the domain that an action begins."""
    if isinstance(action, DefineDomain):
        return action.desired.name
    return action.domain if isinstance(action, StartDomain | ResumeDomain) else name


def _last_domains(host: str, observed: Observed) -> Mapping[str, DomainFacts]:
    fact = observed.nodes.get(host)
    node = None if fact is None else last_of(fact)
    return {} if node is None else last_of(node.domains) or {}


def _runs_at(name: str, host: str, observed: Observed) -> bool:
    domain = _last_domains(host, observed).get(name)
    return domain is not None and runs(domain)


def breaches_of_identity(steps: tuple[Step, ...], observed: Observed) -> Iterator[Breach]:
    """Yield each domain to begin whose UUID or MAC another domain runs with, under any name."""
    begun: dict[str, Action] = {}
    for step in steps:
        if step.ruling.verdict is Verdict.ALLOWED:
            for trait in _traits(step.action, observed):
                begun.setdefault(trait, step.action)
    for host, fact in observed.nodes.items() if begun else ():
        node = last_of(fact)
        for name, domain in ((last_of(node.domains) if node is not None else None) or {}).items():
            for trait in _traits_of(domain) if runs(domain) else ():
                action = begun.get(trait)
                if action is not None and not (host == action.node and _acts_on(action, name)):
                    yield Breach(action.target, f"never two running copies: {action.id}, but {name}"
                                 f" on {host} runs with {trait}, as far as {host} could be seen")


def breaches_of_promotion(steps: tuple[Step, ...], observed: Observed) -> Iterator[Breach]:
    """Yield each VM to promote that runs on an answering host, or may on one not proven off."""
    for step in steps:
        action = step.action
        if not isinstance(action, PromoteReplica):
            continue
        held = [record for fact in observed.nodes.values() if isinstance(fact, Known)
                for record in (last_of(fact.value.records) or {}).values()
                if record.epoch == action.epoch and action.machine in record.machines]
        if not held:
            yield Breach(action.target, f"never two running copies: {action.id}, but no node that"
                         f" answers has a record of epoch {action.epoch} with it")
            continue
        record = max(held, key=lambda one: one.rank)
        for host, fact in observed.nodes.items():
            for domain in _last_domains(host, observed).values():
                if domain.uuid != action.uuid or not runs(domain):
                    continue
                proof = record.hosts[host].proof if host in record.hosts else None
                if isinstance(fact, Known) and host != action.node:
                    yield Breach(action.target, f"never two running copies: {action.id}, but"
                                 f" {domain.name} is {domain.state} on {host}")
                elif not isinstance(fact, Known) and proof is None:
                    yield Breach(action.target, f"never two running copies: {action.id}, but"
                                 f" {host} was last seen with {domain.name} {domain.state}, and is"
                                 " not proven off")


def _acts_on(action: Action, name: str) -> bool:
    if isinstance(action, DefineDomain):
        return action.desired.name == name
    return isinstance(action, StartDomain | ResumeDomain) and action.domain == name


def _traits(action: Action, observed: Observed) -> set[str]:
    """Return UUID and MACs of the domain that an action begins; nothing if it begins none."""
    if not isinstance(action, StartDomain | ResumeDomain | DefineDomain):
        return set()
    fact = observed.nodes.get(action.node)
    node = None if fact is None else last_of(fact)
    domains = (None if node is None else last_of(node.domains)) or {}
    if isinstance(action, DefineDomain):
        desired, here = action.desired, domains.get(action.desired.name)
        if here is not None and here.uuid == desired.uuid and runs(here):
            return set()    # it runs here: defining it begins no copy
        return {desired.uuid, *(nic.mac for nic in desired.nics)}
    domain = domains.get(action.domain)
    return set() if domain is None else _traits_of(domain)


def _traits_of(domain: DomainFacts) -> set[str]:
    return {domain.uuid, *(nic.mac for config in (domain.live, domain.config)
                           if config is not None for nic in config.nics)}


ON_REPLICAS = (ReplicateDomain, RetirePoints, DropPoints, RemoveReplica, VerifyReplica)
KEPT = "the last good restore point is kept"


def breaches_of_points(steps: tuple[Step, ...], observed: Observed) -> Iterator[Breach]:
    """Yield each target that would lose its last good restore point, or whose replica is unseen."""
    yield from _begun_over(steps, observed)
    seen: dict[str, dict[str, ReplicaFacts] | None] = {}
    for step in steps:
        action = step.action
        if not isinstance(action, ON_REPLICAS):
            continue
        host = action.to if isinstance(action, ReplicateDomain) else action.node
        if host not in seen:
            found = replicas_on(observed.nodes.get(host))
            seen[host] = None if found is None else {one.path: one for one in found.values()}
        here = seen[host]
        if here is None:
            yield Breach(action.target, f"unknown is never absent: {action.id}, but the replicas"
                         f" on {host} cannot be seen")
            continue
        words = None
        if isinstance(action, RetirePoints | DropPoints):
            words = _keeps_no_point(action, here)
        elif isinstance(action, RemoveReplica):
            words = _keeps_no_replica(action, here, observed)
        if words is not None:
            yield Breach(action.target, f"{KEPT}: {action.id}{words}")


def _begun_over(steps: tuple[Step, ...], observed: Observed) -> Iterator[Breach]:
    """Yield each VM with restore points that is on no host and would get empty disks.

    Its next copies would replace every good point by the contents of those.
    """
    disks = {step.action.target.partition("/")[2]: step.action for step in steps
             if isinstance(step.action, CreateDisk)}
    for fact in observed.nodes.values() if disks else ():
        node = last_of(fact)
        if node is not None:    # a VM that exists only gets one more disk
            for name, domain in (last_of(node.domains) or {}).items():
                disks.pop(name, None)
                if domain.ownership is not None:
                    disks.pop(domain.ownership.name, None)
    for host, fact in observed.nodes.items() if disks else ():
        node = last_of(fact)
        for replica in () if node is None else (last_of(node.replicas) or {}).values():
            if replica.points and replica.machine in disks:
                action = disks[replica.machine]
                yield Breach(action.target, f"{KEPT}: {action.id}, but {host} has restore points"
                             f" of {replica.machine}, which is on no host")


def _keeps_no_point(action: RetirePoints | DropPoints,
                   here: Mapping[str, ReplicaFacts]) -> str | None:
    replica = here.get(action.path)
    if replica is None:
        return f", but no replica is seen at {action.path}"
    newest = replica.newest
    if newest is not None and newest.sequence in action.sequences:
        return f" would retire {max(action.sequences)}, the newest"
    left = [point for point in replica.points if point.sequence not in action.sequences]
    if all(point.damaged_clusters for point in left):
        return " would leave no sound point"
    return None


def _keeps_no_replica(action: RemoveReplica, here: Mapping[str, ReplicaFacts],
                  observed: Observed) -> str | None:
    replica = here.get(action.path)
    if replica is None:
        return f", but no replica is seen at {action.path}"
    if replica.uuid != action.uuid:
        return f", but that is the replica of {replica.uuid}"
    last = replica.points[-1].sequence if replica.points else -1
    others = [found[action.uuid] for host, fact in observed.nodes.items() if host != action.node
              if (found := replicas_on(fact)) and action.uuid in found]
    if any(point.sequence > last for one in others
           if (point := sound(one)) is not None and not one.lost_files):
        return None
    return ", but no newer sound point is seen elsewhere"
