"""Cases: a small estate, what differs in it, and the plan as people read it.

UPDATE=1 rewrites the plans; read what changed before it is kept.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ryaml import loads as parse_yaml

from controller.model.desired import Desired
from controller.model.facts import Known, Observed, PortFacts, Unknown
from controller.model.replica import IncomingFacts, Leftover, LeftoverKind
from controller.plan.compute import compute
from controller.plan.survey.context import Context, ReplicaRequest, RequestKind
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.lines import render_plan

CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))
MARK = "plan: |\n"


def desired_from(case: dict[str, Any]) -> Desired:
    """The lab's shape with the case's VMs, networks and host settings."""
    more = [b.vm(name, **(spec or {})) for name, spec in case.get("machines", {}).items()]
    more += [b.document("Network", name, **spec)
             for name, spec in case.get("networks", {}).items()]
    more += [b.document("ProtectionPolicy", name, **spec)
             for name, spec in case.get("policies", {}).items()]
    desired = b.small(*more, hosts_per_site=case.get("hosts_per_site", 2),
                      **case.get("estate", {}))
    hosts = dict(desired.hosts)
    for name, spec in case.get("hosts", {}).items():
        hosts[name] = b.document("Host", name, **(
            {"site": name.rpartition("-")[0], "address": name} | spec))
    return replace(desired, hosts=hosts)


def turn_off(seen: Observed, desired: Desired, vm: str, host: str, reason: str) -> Observed:
    return b.with_domain(seen, host, vm, b.off(vm, host, desired, reason))


def silence(seen: Observed, desired: Desired, node: str, since: float) -> Observed:
    assert node in {*desired.hosts, *desired.switches}
    return b.silenced(seen, node, since)


def retag(seen: Observed, desired: Desired, vm: str, host: str, vlan: int) -> Observed:
    mac = desired.virtual_machines[vm].spec.nics[0].mac
    port = f"vnet-{vm}"[:15]
    return b.with_port(seen, host, PortFacts(port, vlan, (), None, True, mac), port)


def retrunk(seen: Observed, desired: Desired, node: str, port: str,
            vlans: list[int]) -> Observed:
    assert node in {*desired.hosts, *desired.switches}
    return b.with_port(seen, node, PortFacts(port, None, tuple(vlans), "trunk", True), port)


def resize(seen: Observed, desired: Desired, vm: str, host: str, gib: int) -> Observed:
    config = replace(b.config_of(vm, host, desired), memory_bytes=gib << 30,
                     memory_max_bytes=gib << 30)
    return b.with_domain(seen, host, vm, b.domain(vm, host, desired, live=config, config=config))


def second_copy(seen: Observed, desired: Desired, vm: str, host: str) -> Observed:
    return b.with_domain(seen, host, vm, b.domain(vm, host, desired))


def forget_spec(seen: Observed, desired: Desired, vm: str, host: str, deletion: str) -> Observed:
    """A domain of ours that no spec declares any longer."""
    old = b.small(b.vm(vm, deletion=deletion))
    assert vm not in desired.virtual_machines
    return b.with_domain(seen, host, vm, b.domain(vm, host, old))


def age(seen: Observed, desired: Desired, node: str, seconds: float) -> Observed:
    fact = seen.nodes[node]
    assert desired.hosts[node]
    assert isinstance(fact, Known)
    return b.with_node(seen, node, Known(fact.value, b.NOW_S - seconds))


def move(seen: Observed, desired: Desired, vm: str, source: str, to: str) -> Observed:
    (found,) = [domain for host, domain in r.domains_of(seen, vm) if host == source]
    return b.with_domain(b.with_domain(seen, source, vm, None), to, vm, found)


def untrack(seen: Observed, desired: Desired, vm: str) -> Observed:
    return r.with_checkpoints(seen, vm, ())


def never_asked(seen: Observed, desired: Desired, host: str, reason: str) -> Observed:
    fact = seen.nodes[host]
    assert isinstance(fact, Known)
    return b.with_node(seen, host, replace(fact, value=replace(
        fact.value, replicas=Unknown(reason, b.NOW_S - 10))))


def leave_over(seen: Observed, desired: Desired, host: str, kinds: list[str]) -> Observed:
    fact = seen.nodes[host]
    assert isinstance(fact, Known)
    found = tuple(Leftover(LeftoverKind(kind), f"/left/{kind}") for kind in kinds)
    return b.with_node(seen, host, replace(fact, value=replace(
        fact.value, leftovers=Known(found, b.NOW_S))))


def with_replicas(seen: Observed, desired: Desired, told: list[dict[str, Any]]) -> Observed:
    """What is seen with the case's replicas, all hosts having been asked."""
    seen = r.asked(seen, desired)
    for one in told:
        points = r.series(one.get("newest", 0), one.get("age", 0), one.get("count", 3),
                          one.get("every", 240))
        points = tuple(replace(point, damaged_clusters=3) if one.get("damaged") == point.sequence
                       else point for point in points)
        seen = r.with_replica(seen, one["host"], r.replica(
            one["vm"], points, damaged_clusters=3 if "damaged" in one else 0,
            lost_files=tuple(one.get("lost", ())), pins=one.get("pins", {}),
            unreadable=one.get("unreadable", ""),
            incoming=tuple(IncomingFacts(disk, 10 << 30, 1 << 30)
                           for disk in one.get("incoming", ())),
            scrubbed_at=b.NOW_S - one.get("scrubbed", 60)))
    return seen


BENDS: dict[str, Callable[..., Observed]] = {
    "off": turn_off, "silent": silence, "vlan": retag, "trunk": retrunk, "memory": resize,
    "moved": move, "untracked": untrack, "untold": never_asked, "left over": leave_over,
    "second copy": second_copy, "undeclared": forget_spec, "old facts": age,
}


def policy_from(case: dict[str, Any]) -> Context:
    """The context of the case."""
    return Context(
        applied_revision="r0" if "changed" in case else "r1",
        changed=frozenset(case.get("changed", ())),
        assumed_down=frozenset(case.get("assume_down", ())),
        requests=tuple(ReplicaRequest(vm, RequestKind(request), "ann", b.NOW_S)
                       for vm, request in case.get("requests", {}).items()),
        repairs={target: tuple(b.NOW_S + at for at in instants)
                 for target, instants in case.get("repairs", {}).items()})


def plan_text(case: dict[str, Any]) -> str:
    """The plan of a case, as lines."""
    desired = desired_from(case)
    seen = b.as_declared(desired, case.get("running", {}))
    if "replicas" in case:
        seen = with_replicas(seen, desired, case["replicas"])
    for bend in case.get("bends", ()):
        arguments = dict(bend)
        seen = BENDS[arguments.pop("bend")](seen, desired, **arguments)
    plan = compute(desired, seen, policy_from(case), b.NOW_S)
    return "\n".join(render_plan(plan)) + "\n"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_plan_reads_as_it_should(path: Path) -> None:
    text = path.read_text()
    case = parse_yaml(text)
    found = plan_text(case)
    if os.environ.get("UPDATE"):
        indented = "".join(f"  {line}\n" for line in found.splitlines())
        path.write_text(text[:text.index(MARK) + len(MARK)] + indented)
        return
    assert found == case["plan"]


def test_there_are_cases() -> None:
    assert len(CASES) >= 12
