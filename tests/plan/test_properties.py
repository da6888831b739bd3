"""Properties of every estate: convergence, stillness, determinism, and the law of unknowns."""

import random
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.model.desired import Desired
from controller.model.facts import DomainState, Known, Observed, PortFacts
from controller.plan.compute import compute
from controller.plan.gates.grace import grace_keys
from controller.plan.steps.plan import Plan, Verdict
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.world import carried_out

GIB = 1 << 30
HOSTS = ("paris-1", "paris-2", "milan-1", "milan-2")


@st.composite
def machines(draw: st.DrawFn) -> list[Any]:
    found: list[Any] = []
    alone = 0
    for number in range(draw(st.integers(1, 6))):
        place: dict[str, Any] = draw(st.sampled_from([
            {}, {}, {"site": "paris"}, {"site": "milan"}, {"host": "paris-2"},
            {"antiAffinity": ["db"]}]))
        if place == {"antiAffinity": ["db"]} and alone == len(HOSTS):
            place = {}      # there is no fifth host for a fifth of them
        alone += place == {"antiAffinity": ["db"]}
        found.append(b.vm(
            f"vm-{number}", power=draw(st.sampled_from(["on", "on", "on", "off"])),
            memory=f"{draw(st.sampled_from([1, 2, 4]))}GiB", cpus=draw(st.integers(1, 4)),
            placement=place, protection=draw(st.sampled_from([None, "gold"])),
            disks=[{"name": name, "size": "10GiB"} for name in
                   ("vda", "vdb")[:draw(st.integers(0, 2))]]))
    return found


@st.composite
def bent_worlds(draw: st.DrawFn) -> tuple[Desired, Observed]:
    desired = b.small(*draw(machines()))
    where = {name: host for name in desired.virtual_machines
             if (host := draw(st.sampled_from([None, *HOSTS]))) is not None}
    seen = b.as_declared(desired, where)
    for name, host in where.items():
        seen = bent(draw, desired, seen, name, host)
    if draw(st.booleans()):
        seen = replicated(draw, desired, seen)
    for node, port in (("paris-1", "up0"), ("milan-sw", "tr1")):
        vlans = draw(st.sampled_from([None, None, (), (100,), (100, 200, 300)]))
        if vlans is not None:
            seen = b.with_port(seen, node, PortFacts(port, None, vlans, "trunk", True), port)
    return desired, seen


def replicated(draw: st.DrawFn, desired: Desired, seen: Observed) -> Observed:
    """The world with replicas, some of them where they belong, some of them well."""
    seen = r.asked(seen, desired)
    for name in desired.virtual_machines:
        for host in draw(st.lists(st.sampled_from(HOSTS), max_size=2, unique=True)):
            newest = draw(st.integers(0, 6))
            bad = draw(st.sampled_from([0, 0, 2]))
            points = tuple(replace(one, damaged_clusters=bad if one.sequence == newest else 0)
                           for one in r.series(newest, draw(st.sampled_from([20, 280, 2000]))))
            seen = r.with_replica(seen, host, r.replica(
                name, points, damaged_clusters=bad, pins=draw(st.sampled_from([{}, {"a": 2}])),
                lost_files=draw(st.sampled_from([(), (), ("vda/base-000001.raw",)])),
                scrubbed_at=draw(st.sampled_from([None, b.NOW_S - 10, b.NOW_S - 600_000]))))
    return seen


def bent(draw: st.DrawFn, desired: Desired, seen: Observed, name: str, host: str) -> Observed:
    """The world with one VM drawn away from what is declared."""
    good = b.config_of(name, host, desired)
    wrong = draw(st.sampled_from([
        good, replace(good, memory_bytes=GIB // 2), replace(good, cpus=9, cpus_max=9),
        replace(good, nics=()), replace(good, disks=good.disks[:1]),
        replace(good, nics=tuple(replace(nic, vlan=7) for nic in good.nics)),
        replace(good, disks=tuple(replace(disk, size_bytes=GIB) for disk in good.disks))]))
    domain = draw(st.sampled_from([
        b.domain(name, host, desired, live=wrong), b.domain(name, host, desired, config=wrong),
        b.domain(name, host, desired, live=wrong, config=wrong),
        b.domain(name, host, desired, autostart=True, ownership=None),
        b.domain(name, host, desired, config=None, persistent=False),
        b.domain(name, host, desired, state=DomainState.PAUSED, state_reason="user"),
        b.off(name, host, desired), b.off(name, host, desired, config=wrong), None]))
    return b.with_domain(seen, host, name, domain)


def settle(desired: Desired, seen: Observed, rounds: int = 8) -> tuple[Plan, Observed]:
    """Carry out what is allowed, a person saying yes to all, until there is nothing left to do."""
    plan = compute(desired, seen, b.APPLIED, b.NOW_S)
    for _ in range(rounds):
        if not plan.steps:
            break
        for step in plan.steps:
            if step.ruling.verdict is Verdict.ALLOWED and not step.after:
                seen = carried_out(step.action, seen, desired)
        plan = compute(desired, seen, b.APPLIED, b.NOW_S)
        yes = replace(b.saying_yes(plan), waiting={     # and whatever waits has waited
            key: b.NOW_S - 3600 for step in plan.steps if step.ruling.rule == "grace"
            for key in grace_keys(step.action)})
        if yes.approvals or yes.waiting:
            plan = compute(desired, seen, yes, b.NOW_S)
    return plan, seen


@given(bent_worlds())
@settings(max_examples=300, deadline=None)
def test_carrying_a_plan_out_leads_to_an_empty_plan(case: tuple[Desired, Observed]) -> None:
    desired, seen = case
    plan, _ = settle(desired, seen)
    assert [step.action.id for step in plan.steps] == []


@given(machines())
@settings(max_examples=60, deadline=None)
def test_an_estate_from_nothing_ends_as_declared(vms: list[Any]) -> None:
    desired = b.small(*vms)
    plan, seen = settle(desired, r.asked(b.as_declared(desired, {}), desired))
    assert plan.steps == ()
    for name, one in desired.virtual_machines.items():
        states = [fact.value.domains.value[name].state for host, fact in seen.nodes.items()
                  if isinstance(fact, Known) and isinstance(fact.value.domains, Known)
                  and name in fact.value.domains.value]
        assert states == [DomainState.RUNNING if one.spec.power == "on" else DomainState.SHUT_OFF]


@given(bent_worlds(), st.randoms())
@settings(max_examples=80, deadline=None)
def test_the_order_of_mappings_makes_no_difference(case: tuple[Desired, Observed],
                                                   dice: random.Random) -> None:
    desired, seen = case
    first = compute(desired, seen, b.APPLIED, b.NOW_S)
    assert compute(shuffled_specs(desired, dice), shuffled_facts(seen, dice), b.APPLIED,
                   b.NOW_S) == first


def shuffled(mapping: Any, dice: random.Random) -> dict[str, Any]:
    """The same mapping in another order."""
    items = list(mapping.items())
    dice.shuffle(items)
    return dict(items)


def shuffled_specs(desired: Desired, dice: random.Random) -> Desired:
    """The same specs, read in another order."""
    return replace(desired, **{name: shuffled(getattr(desired, name), dice)
                               for name in b.FIELDS.values()})


def shuffled_facts(seen: Observed, dice: random.Random) -> Observed:
    """The same facts, told in another order."""
    nodes = {}
    for name, fact in shuffled(seen.nodes, dice).items():
        assert isinstance(fact, Known)
        parts = {}
        for part in ("domains", "pools", "bridges", "replicas"):
            inner = getattr(fact.value, part)
            if isinstance(inner, Known):
                parts[part] = Known(shuffled(inner.value, dice), inner.observed_at)
        nodes[name] = Known(replace(fact.value, **parts), fact.observed_at)
    return Observed(nodes)


@given(bent_worlds(), st.sampled_from(HOSTS), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_silent_host_and_its_vms_are_never_acted_on(
        case: tuple[Desired, Observed], host: str, never: bool) -> None:
    desired, seen = case
    fact = seen.nodes[host]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.domains, Known)
    held = set(fact.value.domains.value)
    dark = b.never_seen(seen, host) if never else b.silenced(seen, host)
    plan = compute(desired, dark, b.APPLIED, b.NOW_S)
    for step in plan.steps:
        assert host not in step.action.nodes
        assert step.action.target.partition("/")[2] not in held
    assert any(remark.unknown and host in remark.sentence for remark in plan.remarks)
