"""A store as a loop leaves it over 5,000 VMs on 300 hosts, and a loop's writing into it.

Every VM has a replica at the other site. One in fifty is older than its policy allows, one in a
hundred is not protected, and one host does not answer: so the page has tall rows, too.

Facts are built at an instant of the tests and moved to now as they are written: a row holds
instants of points, and nothing else of it has an age.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from random import Random

from controller.model.desired import Desired
from controller.model.facts import Fact, Known, NodeFacts, Observed
from controller.model.replica import PointFacts, ReplicaFacts
from controller.plan.compute import compute
from controller.reconcile.decide.declared import documents_of
from controller.reconcile.observe.last_seen import save_fact
from controller.store.store import Store
from tests.plan import builders as b
from tests.plan import replicas as r

VMS, HOSTS = 5000, 300
SILENT = "paris-7"
PLAIN = 100
"""One VM in so many is not protected."""
LATE = 50
"""One in so many has a restore point that is too old."""
FRESH_S, LATE_S = 200.0, 1000.0


def estate() -> Desired:
    """The 5,000 VMs, most of them protected."""
    whole = b.large(VMS, HOSTS)
    machines = {name: one if number % PLAIN else one.model_copy(
        update={"spec": one.spec.model_copy(update={"protection": None})})
        for number, (name, one) in enumerate(whole.virtual_machines.items())}
    return replace(whole, virtual_machines=machines)


def replicas(desired: Desired, where: Mapping[str, str]) -> dict[str, dict[str, ReplicaFacts]]:
    """Return, by host, the replicas of the VMs of the other site, by UUID."""
    dice = Random(1)
    found: dict[str, dict[str, ReplicaFacts]] = {host: {} for host in desired.hosts}
    for number, (name, vm) in enumerate(desired.virtual_machines.items()):
        if vm.spec.protection is not None:
            site, _, place = where[name].partition("-")
            age_s = LATE_S if number % LATE == 1 else dice.uniform(1, FRESH_S)
            one = r.replica(name, r.series(12, age_s))
            found[f"{b.SITES[b.SITES[0] == site]}-{place}"][one.uuid] = one
    return found


def seen(desired: Desired) -> Observed:
    """Return what a loop sees of it."""
    where = b.spread(desired)
    observed, held = b.as_declared(desired, where), replicas(desired, where)
    nodes: dict[str, Fact[NodeFacts]] = dict(observed.nodes)
    for host, here in held.items():
        fact = nodes[host]
        assert isinstance(fact, Known)
        nodes[host] = replace(fact, value=replace(
            fact.value, replicas=Known(here, b.NOW_S), leftovers=Known((), b.NOW_S)))
    return b.silenced(Observed(nodes), SILENT)


def moved(facts: NodeFacts, by_s: float) -> NodeFacts:
    """Return the same, its restore points so much later."""
    assert isinstance(facts.replicas, Known)
    return replace(facts, replicas=replace(facts.replicas, value={
        uuid: replace(one, points=tuple(later(point, by_s) for point in one.points))
        for uuid, one in facts.replicas.value.items()}))


def later(point: PointFacts, by_s: float) -> PointFacts:
    """Return a point that was made so much later."""
    return replace(point, started_at=point.started_at + by_s,
                   committed_at=point.committed_at + by_s)


def fill(store: Store) -> dict[str, NodeFacts]:
    """Write all that a loop writes after one look; return the facts of the hosts that answer."""
    desired = estate()
    observed = seen(desired)
    plan = compute(desired, observed, b.APPLIED, b.NOW_S)
    by_s = time.time() - b.NOW_S
    store.save_declared(documents_of(desired))
    hosts: dict[str, NodeFacts] = {}
    for node, fact in observed.nodes.items():
        if isinstance(fact, Known):
            if node in desired.hosts:
                hosts[node] = moved(fact.value, by_s)
            save_fact(store, node, Known(hosts.get(node, fact.value), b.NOW_S + by_s))
        else:
            assert fact.last is not None
            save_fact(store, node, Known(moved(fact.last, by_s), fact.last_at + by_s))
            save_fact(store, node, fact)
    store.save_conditions(plan.conditions, time.time())
    store.save_status({
        "pid": 1, "at": time.time(), "started_at": time.time(), "stopped": False,
        "revision": desired.revision,
        "source": {"good": True, "sentence": "revision r1 is in force", "at": time.time()},
        "nodes": {node: {"state": "known" if isinstance(fact, Known) else "unknown",
                         "observed_at": time.time()} for node, fact in observed.nodes.items()},
        "plan": {"summary": "no change at r1", "steps": [], "remarks": [], "failovers": [],
                 "predictions": [asdict(one) | {
                     "returns": one.returns,
                     "worst_at": one.worst_at and one.worst_at + by_s}
                     for one in plan.predictions]}})
    return hosts
