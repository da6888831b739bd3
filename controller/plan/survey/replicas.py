"""Where replicas are, by the VM's UUID: those seen now apart from those last seen.

Rule 1: a host whose replicas cannot be seen holds those that it last listed; a host that never
        listed them may hold any. Neither looks like a host without replicas.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from controller.model.facts import Absent, Known, Unknown
from controller.model.replica import PointFacts, ReplicaFacts
from controller.plan.survey.silence import last_of, value_of
from controller.plan.survey.survey import NEVER_ASKED, Survey


class Held(NamedTuple):
    """A replica on a host."""

    host: str
    replica: ReplicaFacts

    @property
    def sound(self) -> PointFacts | None:
        """Return the newest point without damage."""
        return sound(self.replica)


def sound(replica: ReplicaFacts) -> PointFacts | None:
    """Return the newest complete point without damage; a replica's age is that of this point.

    What an older copy of the VM held at its end is none.
    """
    for point in reversed(replica.points):
        if not point.damaged_clusters and not point.diverged:
            return point
    return None


@dataclass(frozen=True, slots=True)
class ReplicaIndex:
    """Every replica of the estate, by the VM's UUID, each list sorted by host."""

    held: Mapping[str, tuple[Held, ...]]
    stale: Mapping[str, tuple[Held, ...]]
    """As last seen, on hosts whose replicas cannot be seen now."""
    unseen: Mapping[str, str]
    """By declared host whose replicas cannot be seen now: why."""
    never_asked: frozenset[str]
    """Hosts of `unseen` that answer and were never asked for replicas."""
    stored_bytes: dict[str, int] = field(default_factory=dict)
    """By host that can be seen: what its replicas take up."""
    named: Mapping[str, tuple[Held, ...]] = field(default_factory=dict)
    """Replicas that hold content, by the VM's name."""
    on_removed_hosts: Mapping[str, tuple[Held, ...]] = field(default_factory=dict)
    """As last seen, on hosts that left the specs."""
    unlisted: Mapping[str, str] = field(default_factory=dict)
    """Hosts of `unseen` that may hold any replica, since they never listed all of theirs. The rest
    hold what they listed last: nobody copies to a host that cannot be seen."""

    def of_machine(self, names: Iterable[str], uuids: Iterable[str]) -> tuple[Held, ...]:
        """Return the replicas of a VM, seen now or last seen, by name or UUID; newest last.

        An adopted or re-created VM has, or had, another UUID than the one that we would give it.
        """
        found = {(one.host, one.replica.uuid): one for one in (
            *(one for name in names for one in self.named.get(name, ())),
            *(one for uuid in uuids for there in (self.held, self.stale, self.on_removed_hosts)
              for one in there.get(uuid, ())))
            if holds_anything(one.replica)}
        return tuple(sorted(found.values(), key=lambda one: (
            -1.0 if one.sound is None else one.sound.started_at)))


def holds_anything(replica: ReplicaFacts) -> bool:
    """Return whether a replica holds content of its VM, or may."""
    return bool(replica.points or replica.incoming or replica.unreadable)


def index_replicas(survey: Survey) -> ReplicaIndex:
    """Return the index over the replicas that every host lists, or last listed."""
    held: dict[str, tuple[Held, ...]] = {}
    stale: dict[str, tuple[Held, ...]] = {}
    unseen: dict[str, str] = {}
    never_asked: set[str] = set()
    stored: dict[str, int] = {}
    named: dict[str, tuple[Held, ...]] = {}
    on_removed_hosts: dict[str, tuple[Held, ...]] = {}
    unlisted: dict[str, str] = {}
    for host in sorted(survey.desired.hosts):
        if host in survey.lost:
            continue
        node = survey.nodes.get(host)
        seen = None if node is None else value_of(node.replicas)
        if seen is None:
            unseen[host] = f"{host} {survey.node_silence(host)}" if node is None else (
                f"the replicas on {host} could not be seen"
                f" ({node.replicas.reason if isinstance(node.replicas, Unknown) else ''})")
            last = last_of(survey.observed.nodes.get(host, NEVER_ASKED))
            if last is None or (last_of(last.replicas) is None
                                and not isinstance(last.replicas, Absent)):
                unlisted[host] = unseen[host]
            if node is not None and isinstance(node.replicas, Unknown) and (
                    node.replicas.since_at <= 0):
                never_asked.add(host)
        else:
            stored[host] = sum(one.stored_bytes for one in seen.values())
            unread = _unread_pool(host, survey)
            if unread:
                unseen[host] = unlisted[host] = unread
        _note(host, _last(host, survey) if seen is None else seen,
              stale if seen is None else held, named)
    for host in survey.removed_hosts:
        _note(host, _last(host, survey), on_removed_hosts, named)
    return ReplicaIndex(held, stale, unseen, frozenset(never_asked), stored, named,
                        on_removed_hosts, unlisted)


def _note(host: str, replicas: Mapping[str, ReplicaFacts], into: dict[str, tuple[Held, ...]],
          named: dict[str, tuple[Held, ...]]) -> None:
    for uuid, replica in replicas.items():
        into[uuid] = (*into.get(uuid, ()), Held(host, replica))
        if replica.machine and holds_anything(replica):
            named[replica.machine] = (*named.get(replica.machine, ()), into[uuid][-1])


def _unread_pool(host: str, survey: Survey) -> str:
    """Return why the replicas in a declared pool of a host cannot be seen; empty if they can.

    A pool that is not declared holds none of ours, unless one was seen there: it is remembered.
    """
    pools = survey.pools(host) or {}
    for declared in survey.desired.hosts[host].spec.folders:
        pool = pools.get(declared.name)
        if pool is not None and pool.replicas_unknown:
            return (f"the replicas in pool {pool.name} of {host} could not be seen"
                    f" ({pool.replicas_unknown})")
    return ""


def _last(host: str, survey: Survey) -> Mapping[str, ReplicaFacts]:
    node = last_of(survey.observed.nodes.get(host, NEVER_ASKED))
    return {} if node is None else last_of(node.replicas) or {}


def replicas_on(fact: object) -> Mapping[str, ReplicaFacts] | None:
    """Return the replicas of a node that answers; None if they cannot be seen."""
    return value_of(fact.value.replicas) if isinstance(fact, Known) else None
