"""Observed replicas for tests: any points, on any host, and any damage."""

from dataclasses import replace
from typing import Any

from controller.model.desired import Desired
from controller.model.facts import DomainFacts, Known, Observed
from controller.model.replica import PointFacts, ReplicaFacts
from controller.plan.survey.identity import domain_uuid
from tests.plan import builders as b

MIB = 1 << 20


def point(sequence: int, age_s: float, **more: Any) -> PointFacts:
    """A point whose copy began so long ago and took 4 s."""
    fields = {"checkpoint": f"hotsite-{sequence:06d}", "quiesced": False,
              "stored_bytes": 40 * MIB, "committed_at": b.NOW_S - age_s + 4} | more
    return PointFacts(sequence=sequence, started_at=b.NOW_S - age_s, **fields)


def series(newest: int, age_s: float, count: int = 3, every_s: float = 240) -> tuple[
        PointFacts, ...]:
    """So many points, the newest of them so old, sound."""
    return tuple(point(newest - back, age_s + back * every_s)
                 for back in range(count - 1, -1, -1) if newest - back > 0)


def replica(vm: str, points: tuple[PointFacts, ...] = (), **more: Any) -> ReplicaFacts:
    """A replica of a VM of the lab with one disk of 10 GiB."""
    uuid = domain_uuid("lab", vm)
    fields: dict[str, Any] = {
        "path": f"/var/lib/libvirt/images/hotsite-replicas/{uuid}",
        "disks": {"vda": 10 * b.GIB} if points else {},
        "stored_bytes": sum(one.stored_bytes for one in points)} | more
    return ReplicaFacts(uuid=uuid, machine=vm, points=points, **fields)


def asked(observed: Observed, desired: Desired) -> Observed:
    """The same, with every host that answers saying that it has no replica and no leftover."""
    nodes = dict(observed.nodes)
    for host in desired.hosts:
        fact = nodes[host]
        if isinstance(fact, Known):
            nodes[host] = Known(replace(
                fact.value, replicas=Known({}, b.NOW_S), leftovers=Known((), b.NOW_S)),
                fact.observed_at)
    return Observed(nodes)


def with_replica(observed: Observed, host: str, facts: ReplicaFacts) -> Observed:
    """The same, with one replica on a host, and its newest checkpoint on its VM."""
    fact = observed.nodes[host]
    assert isinstance(fact, Known)
    before = fact.value.replicas
    here = {**before.value, facts.uuid: facts} if isinstance(before, Known) else {
        facts.uuid: facts}
    observed = b.with_node(observed, host, Known(
        replace(fact.value, replicas=Known(here, b.NOW_S)), fact.observed_at))
    if facts.newest is None or not facts.newest.checkpoint:
        return observed
    return with_checkpoints(observed, facts.machine, (facts.newest.checkpoint,))


def without_replica(observed: Observed, host: str, uuid: str) -> Observed:
    """The same, without one replica."""
    fact = observed.nodes[host]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.replicas, Known)
    left = {key: value for key, value in fact.value.replicas.value.items() if key != uuid}
    return b.with_node(observed, host, Known(
        replace(fact.value, replicas=Known(left, b.NOW_S)), fact.observed_at))


def with_checkpoints(observed: Observed, vm: str, names: tuple[str, ...]) -> Observed:
    """The same, with these checkpoints on the VM wherever it is seen."""
    for host, domain in domains_of(observed, vm):
        observed = b.with_domain(observed, host, vm, replace(domain, checkpoints=names))
    return observed


def domains_of(observed: Observed, vm: str) -> list[tuple[str, DomainFacts]]:
    """Every host on which the VM is seen, and as what."""
    return [(host, fact.value.domains.value[vm]) for host, fact in observed.nodes.items()
            if isinstance(fact, Known) and isinstance(fact.value.domains, Known)
            and vm in fact.value.domains.value]
