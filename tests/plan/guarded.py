"""Estates with guards, and what is seen of them."""

from dataclasses import replace
from typing import Any

from controller.model.desired import Desired
from controller.model.facts import Known, NodeFacts, Observed
from controller.model.failover.guard import GrantorFacts, GuardFacts, Revocation
from controller.plan.guarding.orders import orders_of
from tests.plan import builders as b

OCTETS = {"paris-1": 11, "paris-2": 12, "milan-1": 21, "milan-2": 22}


def guarded(*more: Any, hosts: dict[str, Any] | None = None, **guard: Any) -> Desired:
    """Two sites with two hosts each, a witness, and a policy that ends VMs that are cut off."""
    survey = [one for one in b.survey() if type(one).__name__ != "Host"]
    return b.desired_of(
        b.estate(failover={"guard": {"keyFile": "/etc/hotsite/guard.key", **guard}}), *survey,
        *(b.document("Host", name, site=name.split("-")[0], address=f"10.77.0.{octet}",
                     **(hosts or {}).get(name, {})) for name, octet in OCTETS.items()),
        b.document("ProtectionPolicy", "cut", rpo="5m", isolation="stop"),
        b.document("Witness", "hq", address="10.77.0.4", place="hq"), *more)


def seen(desired: Desired, where: dict[str, str] | None = None) -> Observed:
    """Everything as declared, with guards and grantors that go by their orders."""
    found = b.as_declared(desired, where)
    orders = orders_of(desired)
    for name in (*desired.hosts, *desired.witnesses):
        fact = found.nodes.get(name) or Known(NodeFacts(
            name, f"boot-{name}", 0.0, b.node("paris-1", desired).value.hardware, {},
            b.Absent(b.NOW_S), b.Absent(b.NOW_S), b.Absent(b.NOW_S)), b.NOW_S)
        assert isinstance(fact, Known)
        node = fact.value
        told = orders.grantors.get(name)
        if told is not None:
            node = replace(node, grantor=Known(GrantorFacts(
                running=True, digest=told.digest, name=name, hears=told.hosts), b.NOW_S))
        if name in desired.hosts:
            node = replace(node, guard=Known(granted(name, desired, node), b.NOW_S))
        found = b.with_node(found, name, Known(node, b.NOW_S))
    return found


def granted(name: str, desired: Desired, node: NodeFacts) -> GuardFacts:
    """A guard that everybody grants and that holds all that run."""
    told = orders_of(desired).guards.get(name)
    if told is None:
        return GuardFacts()
    assert isinstance(node.domains, Known)
    names = tuple(one.name for one in told.grantors)
    return GuardFacts(
        running=True, digest=told.digest, granted=True, content=True, grantors=names,
        granted_by=names, deadline_s=told.deadline_s, processes=2,
        held=tuple(sorted(one.uuid for one in node.domains.value.values()
                          if one.name in told.victims)))


def with_guard(observed: Observed, name: str, **changed: Any) -> Observed:
    """The same, but for the guard of one host."""
    fact = observed.nodes[name]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.guard, Known)
    guard = replace(fact.value.guard.value, **changed)
    return b.with_node(observed, name, Known(replace(
        fact.value, guard=Known(guard, b.NOW_S)), b.NOW_S))


def with_grantor(observed: Observed, name: str, **changed: Any) -> Observed:
    """The same, but for the grantor of one node."""
    fact = observed.nodes[name]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.grantor, Known)
    grantor = replace(fact.value.grantor.value, **changed)
    return b.with_node(observed, name, Known(replace(
        fact.value, grantor=Known(grantor, b.NOW_S)), b.NOW_S))


def refusing(observed: Observed, name: str, host: str, epoch: int = 7) -> Observed:
    """The same, but for one grantor that refuses a host."""
    return with_grantor(observed, name, revoked={host: Revocation(
        epoch, 1, "ann", "a failover", 3.0, since_start=False)})
