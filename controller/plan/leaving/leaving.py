"""What of ours lies on an estate, and by which steps it goes; guests run on as they were.

The order, since one thing here could end guests:

    1 guards     A guard ends its guests once nobody grants any more. So the guards go first, each
                 after all its grantors have said that they do not count on it.
    2 grantors   Only once every host is seen, and none has a guard. A host that does not answer may
                 have one: all grantors stay until it was seen.
    3 traces     What a crash left, checkpoints with their bitmaps, marks, replicas if wished.
    4 the rest   Programs, keys, terms, records: last, since all before uses them.

Everything is found by looking, so a second time finds what was left, or nothing. What is not seen
is not done: a host that does not answer is named. While a failover stands, nothing is done at all,
since its records are what keeps old copies from starting.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from controller.model.desired import Desired
from controller.model.facts import DomainFacts, Known, NodeFacts, Observed, Unknown
from controller.model.replica import our_checkpoints
from controller.plan.actions.action import Action, Cause
from controller.plan.actions.leaving import EndGrantor, EndGuard, ForgetNode, RemoveMark
from controller.plan.actions.replica import (
    DropCheckpoints,
    RemoveReplica,
    SweepLeftovers,
    images_with_bitmaps,
)

WHY = "somebody leaves hotsite"


class Leaving(NamedTuple):
    """The steps in their order, what stays and why, and why nothing may be done at all."""

    steps: tuple[Action, ...]
    stays: tuple[str, ...]
    silent: tuple[str, ...] = ()
    """The nodes that did not answer."""
    blocked: str = ""


def plan_leaving(desired: Desired, observed: Observed, *, replicas: bool) -> Leaving:
    """Return the steps by which everything of ours goes; `replicas`: them, too."""
    seen = {name: fact.value for name in sorted(desired.nodes)
            if isinstance(fact := observed.nodes.get(name), Known)}
    if blocked := _failover_stands(seen):
        return Leaving((), (), blocked=blocked)
    silent = tuple(name for name in sorted(desired.nodes) if name not in seen)
    stays = [f"{name} does not answer: what is on it stays until this is run again"
             for name in silent]
    steps: list[Action] = [end_guard(name, seen, Cause.HUMAN, WHY) for name, facts in seen.items()
                           if name in desired.hosts and guard_runs(facts)]
    unseen = [name for name in sorted(desired.hosts)
              if name not in seen or isinstance(seen[name].guard, Unknown)]
    granting = [name for name, facts in seen.items() if grantor_runs(facts)]
    if granting and unseen:
        stays.append(f"the grantors of {', '.join(granting)} go on: {', '.join(unseen)} may have a"
                     " guard, which would end its guests without them")
        granting = []
    steps += [EndGrantor(target=_target(desired, name), node=name, cause=Cause.HUMAN, reason=WHY,
                         consequence="nobody asks it any more") for name in granting]
    for name, facts in seen.items():
        if name in desired.hosts:
            done, left = _traces(desired, name, facts, replicas=replicas)
            steps += done
            stays += left
    steps += [_forget(desired, name, facts) for name, facts in seen.items()
              if name not in desired.switches]
    return Leaving(tuple(steps), tuple(stays), silent)


def _failover_stands(seen: dict[str, NodeFacts]) -> str:
    """Return why nothing may be done: a failover that is not over; empty if none stands."""
    for name, facts in seen.items():
        if not isinstance(facts.records, Known):
            continue
        for record in facts.records.value.values():
            if record.phase != "calm" or record.unreadable:
                what = f"is {record.phase}" if not record.unreadable else "cannot be read"
                return (f"the failover of {record.scope} {what}, by the record on {name}: bring it"
                        " to its end first (`hotsite status` says what it waits for)")
    return ""


def guard_runs(facts: NodeFacts) -> bool:
    """Return whether a guard is seen to run."""
    return isinstance(facts.guard, Known) and (facts.guard.value.running
                                               or facts.guard.value.processes > 0)


def grantor_runs(facts: NodeFacts) -> bool:
    """Return whether a grantor is seen to run."""
    return isinstance(facts.grantor, Known) and facts.grantor.value.running


def end_guard(host: str, seen: Mapping[str, NodeFacts], cause: Cause, why: str) -> EndGuard:
    """Return the step that ends a guard, after all its grantors that are seen know of it."""
    grantors = {facts.grantor.value.name or name: (name, facts.grantor.value.term)
                for name, facts in seen.items()
                if isinstance(facts.grantor, Known) and facts.grantor.value.running}
    guard = seen[host].guard
    asked = guard.value.grantors if isinstance(guard, Known) else ()
    told = [grantors[name] for name in asked if name in grantors]
    return EndGuard(
        target=f"Host/{host}", node=host, host=host, grantors=tuple(name for name, _ in told),
        term=max((term for _, term in told), default=0), cause=cause, reason=why,
        consequence="its guests run on, also when it is cut off")


def _traces(desired: Desired, host: str, facts: NodeFacts, *, replicas: bool
            ) -> tuple[list[Action], list[str]]:
    """Return the steps for what copies and VMs of ours have on a host, and what stays there."""
    steps: list[Action] = []
    stays: list[str] = []
    if isinstance(facts.leftovers, Known) and facts.leftovers.value:
        steps.append(SweepLeftovers(
            target=f"Host/{host}", node=host, leftovers=facts.leftovers.value, cause=Cause.HUMAN,
            reason=WHY, consequence="nobody uses it any more"))
    if not isinstance(facts.domains, Known):
        stays.append(f"the domains of {host} could not be seen: their marks stay until this is run"
                     " again")
    else:
        for domain in facts.domains.value.values():
            if why := _kept(domain, desired):
                stays.append(f"{domain.name} on {host} keeps its mark: {why}")
            else:
                steps += _of_domain(desired, host, domain)
    for replica in facts.replicas.value.values() if isinstance(facts.replicas, Known) else ():
        if not replicas:
            stays.append(f"the replica of {replica.machine} stays on {host}, in {replica.path}")
            continue
        steps.append(RemoveReplica(
            target=f"Replica/{replica.machine}", node=host, path=replica.path, uuid=replica.uuid,
            epoch=replica.epoch, cause=Cause.HUMAN, reason=WHY,
            consequence="its restore points are gone for good"))
    return steps, stays


def _kept(domain: DomainFacts, desired: Desired) -> str:
    """Return why a domain is left alone now; empty if it is not."""
    estates = {desired.estate.metadata.name, *desired.estate.spec.formerly}
    if domain.unknown and (domain.ownership is not None or domain.checkpoints):
        return f"it could not be read ({domain.unknown})"
    if domain.ownership is not None and domain.ownership.estate not in estates:
        return f"it belongs to the estate {domain.ownership.estate}"
    if domain.job is not None and our_checkpoints(domain.checkpoints):
        return f"a job of it runs ({domain.job}): run this again when that has ended"
    return ""


def _of_domain(desired: Desired, host: str, domain: DomainFacts) -> Iterator[Action]:
    owned = domain.ownership
    name = (owned.name if owned is not None else "") or domain.name
    ours = our_checkpoints(domain.checkpoints)
    if ours and (owned is not None or name in desired.virtual_machines):
        yield DropCheckpoints(
            target=f"VirtualMachine/{name}", node=host, domain=domain.name, uuid=domain.uuid,
            checkpoints=ours, paths=images_with_bitmaps(domain.live or domain.config),
            cause=Cause.HUMAN,
            reason=WHY, consequence="with their bitmaps; its disks stay as they are")
    if owned is not None:
        yield RemoveMark(
            target=f"VirtualMachine/{name}", node=host, domain=domain.name, uuid=domain.uuid,
            cause=Cause.HUMAN, reason=WHY, consequence="it runs on, and is nobody's")


def _forget(desired: Desired, name: str, facts: NodeFacts) -> ForgetNode:
    pools = facts.pools.value.values() if isinstance(facts.pools, Known) else ()
    return ForgetNode(
        target=_target(desired, name), node=name, cause=Cause.HUMAN, reason=WHY,
        folders=tuple(sorted({pool.path for pool in pools if pool.path and pool.active})),
        consequence="our programs, keys, terms and records go, if there are any")


def _target(desired: Desired, name: str) -> str:
    return f"{'Host' if name in desired.hosts else 'Witness'}/{name}"
