"""A VM is identified by its UUID, cards and files, whatever its domain's name and host."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.condition import ConditionType, Status
from controller.model.facts import (
    DiskFacts,
    DomainFacts,
    DomainState,
    FileUse,
    Known,
    Observed,
    Role,
)
from controller.plan.actions.desired import AttachNic
from controller.plan.actions.machine import (
    DefineDomain,
    MigrateDomain,
    RestartDomain,
    StartDomain,
)
from controller.plan.actions.storage import CreateDisk
from controller.plan.compute import compute
from controller.plan.gates.laws import breaches
from controller.plan.steps.plan import Plan, Ruling, Step, Verdict
from tests.plan import builders as b

BEGINNINGS = (CreateDisk, DefineDomain, StartDomain, MigrateDomain, RestartDomain)
SQL = "VirtualMachine/sql"
IMAGES = "/var/lib/libvirt/images"
BY_HAND = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def lab() -> Any:
    return b.small(b.vm("sql", placement={"site": "paris"}),
                   b.vm("web", placement={"site": "milan"}))


def plan_of(desired: Any, seen: Observed) -> Plan:
    return compute(desired, seen, b.APPLIED, b.NOW_S)


def begun(plan: Plan) -> list[str]:
    """What the plan would begin, as far as it may."""
    return [step.action.id for step in plan.steps if isinstance(step.action, BEGINNINGS)
            and step.ruling.verdict is Verdict.ALLOWED]


def about(plan: Plan, target: str = SQL) -> str:
    said = [one.sentence for one in plan.remarks if one.target == target]
    said += [step.ruling.sentence for step in plan.steps if step.action.target == target]
    return " | ".join(said)


def condition(plan: Plan, kind: ConditionType, target: str = SQL) -> tuple[str, str] | None:
    return next(((one.status, one.reason) for one in plan.conditions
                 if (one.target, one.type) == (target, kind)), None)


def stranger(desired: Any, host: str, **changes: Any) -> DomainFacts:
    """A domain of nobody's with nothing of sql."""
    config = replace(b.config_of("sql", host, desired), nics=(), disks=())
    return replace(b.domain("sql", host, desired), **({
        "name": "by-hand", "uuid": BY_HAND, "ownership": None, "live": config,
        "config": config} | changes))


def config(desired: Any, *, cards: bool = False, path: str = "") -> Any:
    own = b.config_of("sql", "paris-1", desired)
    disks = tuple(replace(disk, source=path) for disk in own.disks) if path else ()
    return replace(own, nics=own.nics if cards else (), disks=disks)


def with_its(what: str, desired: Any) -> dict[str, Any]:
    """What a stranger has of sql."""
    if what == "uuid":
        return {"uuid": b.domain("sql", "paris-1", desired).uuid}
    if what == "card":
        one = config(desired, cards=True)
    elif what == "CARD":
        one = config(desired, cards=True)
        one = replace(one, nics=tuple(replace(nic, mac=nic.mac.upper()) for nic in one.nics))
    elif what == "replica":
        uuid = b.domain("sql", "paris-1", desired).uuid
        one = config(desired, path=f"{IMAGES}/hotsite-replicas/{uuid}/vda/rp-3.qcow2")
    else:
        one = config(desired, path=f"{IMAGES}/sql-vda.qcow2")
    return {"live": one, "config": one}


ALL = ("uuid", "card", "CARD", "replica")


@pytest.mark.parametrize("what", ALL)
@pytest.mark.parametrize("where", ["paris-1", "milan-2"])
@pytest.mark.parametrize("state", [DomainState.RUNNING, DomainState.SHUT_OFF])
def test_what_exists_nowhere_is_not_made_while_another_has_what_makes_it(
        lab: Any, what: str, where: str, state: DomainState) -> None:
    other = stranger(lab, where, **with_its(what, lab), state=state)
    if state is DomainState.SHUT_OFF:
        other = replace(other, live=None)
    seen = b.with_domain(b.as_declared(lab, {"web": "milan-1"}), where, "by-hand", other)
    plan = plan_of(lab, seen)
    assert begun(plan) == []
    assert f"by-hand on {where}" in about(plan)
    assert "formerly" in about(plan)
    assert condition(plan, ConditionType.STALLED) == (Status.TRUE, "Taken")
    assert condition(plan, ConditionType.READY) == (Status.FALSE, "Taken")


@pytest.mark.parametrize("what", [*ALL, "file"])
@pytest.mark.parametrize("how", ["silent", "removed", "answers"])
def test_what_is_off_is_not_started_while_another_has_what_makes_it(
        lab: Any, what: str, how: str) -> None:
    where = "paris-1" if what == "file" else "milan-2"
    seen = b.with_domain(b.as_declared(lab, {"web": "milan-1"}), "paris-1", "sql",
                         b.off("sql", "paris-1", lab))
    assert begun(plan_of(lab, seen)) == [f"start:{SQL}@paris-1"]
    seen = b.with_domain(seen, where, "by-hand", stranger(lab, where, **with_its(what, lab)))
    if how == "silent":
        seen = b.silenced(seen, where)
    elif how == "removed" and where != "paris-1":
        seen = b.with_node(b.silenced(seen, where), "left", b.silenced(seen, where).nodes[where])
        seen = b.with_node(seen, where, b.node(where, lab))
    plan = plan_of(lab, seen)
    assert begun(plan) == []
    if how == "silent" and what != "file":
        assert f"when {where} was last seen" in about(plan)


def test_the_same_path_on_another_host_is_another_file(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, {"web": "milan-1"}), "paris-1", "sql",
                         b.off("sql", "paris-1", lab))
    seen = b.with_domain(seen, "paris-2", "by-hand",
                         stranger(lab, "paris-2", **with_its("file", lab)))
    assert begun(plan_of(lab, seen)) == [f"start:{SQL}@paris-1"]


def test_the_same_path_in_a_shared_pool_is_the_same_file() -> None:
    pools = [{"name": "default", "path": IMAGES, "shared": True}]
    shared = b.desired_of(b.estate(), *b.survey(pools=pools), b.vm("sql"))
    seen = b.with_domain(b.as_declared(shared, {}), "paris-1", "sql",
                         b.off("sql", "paris-1", shared))
    assert begun(plan_of(shared, seen)) == [f"start:{SQL}@paris-1"]
    seen = b.with_domain(seen, "paris-2", "by-hand",
                         stranger(shared, "paris-2", **with_its("file", shared)))
    plan = plan_of(shared, seen)
    assert begun(plan) == []
    assert "sql-vda.qcow2 of the shared pool default" in about(plan)


def test_another_path_to_the_same_file_is_the_same_file(lab: Any) -> None:
    def at(path: str, *, written: bool = True) -> tuple[FileUse, ...]:
        return (FileUse(path, written, "fe01:1234"),)

    seen = b.with_domain(b.as_declared(lab, {"web": "milan-1"}), "paris-1", "sql", b.off(
        "sql", "paris-1", lab, files=at(f"{IMAGES}/sql-vda.qcow2")))
    linked = stranger(lab, "paris-1", files=at("/srv/old/sql.img"))
    assert begun(plan_of(lab, b.with_domain(seen, "paris-1", "by-hand", linked))) == []
    below = stranger(lab, "paris-1", files=at("/srv/old/sql.img", written=False))
    assert begun(plan_of(lab, b.with_domain(seen, "paris-1", "by-hand", below))) == []


def test_another_path_to_a_file_that_lies_in_a_pool_is_that_file(lab: Any) -> None:
    off = b.off("sql", "paris-1", lab)
    fact: Any = b.node("paris-1", lab, {"sql": off})
    pools = fact.value.pools.value
    volumes = {name: replace(one, identity="fe01:77") for name, one in
               pools["default"].volumes.items()}
    linked = stranger(lab, "paris-1", files=(FileUse("/srv/link.img", True, "fe01:77"),))
    for domains, expected in (({}, [f"define:{SQL}@paris-1", f"start:{SQL}@paris-1"]),
                              ({"by-hand": linked}, [])):
        node = replace(fact, value=replace(
            fact.value, domains=Known(domains, b.NOW_S),
            pools=Known({"default": replace(pools["default"], volumes=volumes)}, b.NOW_S)))
        seen = b.with_node(b.as_declared(lab, {"web": "milan-1"}), "paris-1", node)
        assert begun(plan_of(lab, seen)) == expected


def test_a_base_that_several_read_from_is_nobodys_identity(lab: Any) -> None:
    base = FileUse(f"{IMAGES}/golden.qcow2", written=False, identity="fe01:1")
    seen = b.with_domain(b.as_declared(lab, {"web": "milan-1"}), "paris-1", "sql", b.off(
        "sql", "paris-1", lab, files=(FileUse(f"{IMAGES}/sql-vda.qcow2", written=True), base)))
    other = stranger(lab, "paris-1", files=(base,))
    seen = b.with_domain(seen, "paris-1", "by-hand", other)
    assert begun(plan_of(lab, seen)) == [f"start:{SQL}@paris-1"]


@pytest.mark.parametrize("what", ["card", "uuid"])
def test_two_that_run_with_one_identity_are_a_split_brain(lab: Any, what: str) -> None:
    seen = b.with_domain(b.as_declared(lab, {"sql": "paris-1", "web": "milan-1"}), "milan-2",
                         "by-hand", stranger(lab, "milan-2", **with_its(what, lab)))
    plan = plan_of(lab, seen)
    assert plan.steps == ()
    assert "SPLIT BRAIN: sql runs on paris-1 and so does by-hand on milan-2" in about(plan)
    assert condition(plan, ConditionType.SPLIT_BRAIN) == (Status.TRUE, "RunsTwice")


@pytest.mark.parametrize("what", [*ALL, "file"])
def test_what_runs_is_not_moved_or_restarted_while_another_that_is_off_has_its_identity(
        what: str) -> None:
    desired = b.small(b.vm("sql", placement={"host": "milan-1"}, cpus=2))
    where = "paris-1" if what == "file" else "milan-2"
    other = replace(stranger(desired, where, **with_its(what, desired)),
                    state=DomainState.SHUT_OFF, live=None)
    one = b.config_of("sql", "paris-1", desired)
    small = replace(one, cpus=1, cpus_max=1)
    seen = b.with_domain(b.as_declared(desired, {}), "paris-1", "sql",
                         b.domain("sql", "paris-1", desired, live=small, config=small))
    assert {step.action.verb for step in plan_of(desired, seen).steps} >= {"migrate", "restart"}
    plan = plan_of(desired, b.with_domain(seen, where, "by-hand", other))
    assert begun(plan) == []
    assert {step.ruling.rule for step in plan.steps if isinstance(step.action, BEGINNINGS)} == {
        "identity"}


def test_a_look_at_a_replica_is_no_second_copy_but_is_told(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, {"sql": "paris-1", "web": "milan-1"}), "milan-2",
                         "by-hand", stranger(lab, "milan-2", **with_its("replica", lab)))
    plan = plan_of(lab, seen)
    assert condition(plan, ConditionType.READY) == (Status.TRUE, "Running")
    assert condition(plan, ConditionType.SPLIT_BRAIN) == (Status.TRUE, "RunsTwice")
    assert "by-hand on milan-2 (running) has its replica" in about(plan)


def test_a_drill_in_its_isolated_network_is_not_the_vm(lab: Any) -> None:
    own = b.domain("sql", "paris-1", lab)
    assert own.ownership is not None
    cards = config(lab, cards=True).nics
    apart = replace(config(lab), nics=tuple(
        replace(nic, bridge="drill0", vlan=None) for nic in cards))
    drill = stranger(lab, "milan-2", live=apart, config=apart, ownership=replace(
        own.ownership, name="sql-drill", role=Role.DRILL, uuid=BY_HAND))
    seen = b.with_domain(b.as_declared(lab, {"sql": "paris-1", "web": "milan-1"}), "milan-2",
                         "by-hand", drill)
    assert plan_of(lab, seen).steps == ()
    assert condition(plan_of(lab, seen), ConditionType.SPLIT_BRAIN) is None
    plugged = replace(drill, live=config(lab, cards=True))
    seen = b.with_domain(seen, "milan-2", "by-hand", plugged)
    assert condition(plan_of(lab, seen), ConditionType.SPLIT_BRAIN) == (Status.TRUE, "RunsTwice")


def test_a_disk_that_another_domain_has_is_not_plugged_in(lab: Any) -> None:
    desired = b.small(b.vm("sql", disks=[{"name": "vda", "size": "10GiB"},
                                         {"name": "vdb", "size": "10GiB"}]))
    one = b.config_of("sql", "paris-1", desired)
    short = replace(one, disks=one.disks[:1])
    other = config(desired, path=f"{IMAGES}/sql-vdb.qcow2")
    seen = b.with_domain(b.as_declared(desired, {}), "paris-1", "sql",
                         b.domain("sql", "paris-1", desired, live=short, config=short))
    seen = b.with_domain(seen, "paris-1", "by-hand",
                         stranger(desired, "paris-1", live=other, config=other))
    assert all(step.ruling.rule in {"identity", "order"} for step in plan_of(desired, seen).steps)
    assert plan_of(desired, seen).steps != ()


def test_a_card_that_another_vm_still_has_is_not_plugged_in_and_is_no_split_brain() -> None:
    def desired(first: str, second: str) -> Any:
        return b.small(*(b.vm(name, nics=[{"network": "office", "mac": mac}])
                         for name, mac in (("sql", first), ("web", second))))

    one, two = "52:54:00:00:00:01", "52:54:00:00:00:02"
    seen = b.as_declared(desired(one, two), {"sql": "paris-1", "web": "milan-1"})
    swapped = plan_of(desired(two, one), seen)
    assert condition(swapped, ConditionType.SPLIT_BRAIN) is None
    plugged = [step for step in swapped.steps if any(
        isinstance(change, AttachNic) for change in getattr(step.action, "changes", ()))]
    assert {step.ruling.rule for step in plugged} <= {"identity", "takes", "order"}
    assert plugged != []
    given = plan_of(desired("52:54:00:00:00:03", one), seen)
    assert condition(given, ConditionType.SPLIT_BRAIN, "VirtualMachine/web") is None
    assert "sql on paris-1 (running) has the card that is declared for it, " + one in about(
        given, "VirtualMachine/web")


def test_a_disk_that_guests_share_on_purpose_is_no_ones_alone(lab: Any) -> None:
    disk = DiskFacts("vdb", f"{IMAGES}/quorum.raw", "raw", b.GIB, shareable=True)
    own = b.config_of("sql", "paris-1", lab)
    both = replace(own, disks=(*own.disks, disk))
    other = replace(config(lab), disks=(disk,))
    seen = b.with_domain(b.as_declared(lab, {"sql": "paris-1", "web": "milan-1"}), "paris-1",
                         "sql", b.domain("sql", "paris-1", lab, live=both, config=both))
    seen = b.with_domain(seen, "paris-1", "by-hand",
                         stranger(lab, "paris-1", live=other, config=other))
    assert condition(plan_of(lab, seen), ConditionType.SPLIT_BRAIN) is None


@pytest.mark.parametrize("what", [*ALL, "file"])
def test_nothing_is_taken_over_while_another_has_its_identity(lab: Any, what: str) -> None:
    unmarked = b.domain("sql", "paris-1", lab, ownership=None)
    seen = b.with_domain(b.as_declared(lab, {"web": "milan-1"}), "paris-1", "sql", unmarked)
    assert [step.ruling.verdict for step in plan_of(lab, seen).steps] == [Verdict.ALLOWED]
    where = "paris-1" if what == "file" else "milan-2"
    other = replace(stranger(lab, where, **with_its(what, lab)),
                    state=DomainState.SHUT_OFF, live=None)
    steps = plan_of(lab, b.with_domain(seen, where, "by-hand", other)).steps
    assert [step.ruling.rule for step in steps] == ["identity"]


def test_the_law_of_the_single_copy_goes_by_uuid_and_card(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, {"web": "milan-1"}), "paris-1", "sql",
                         b.off("sql", "paris-1", lab))
    start = StartDomain(target=SQL, node="paris-1", domain="sql", reason="x")
    steps = (Step(start, (), Ruling(Verdict.ALLOWED)),)
    assert breaches(steps, seen) == {}
    for what in ("uuid", "card"):
        other = b.with_domain(seen, "milan-2", "by-hand",
                              stranger(lab, "milan-2", **with_its(what, lab)))
        assert "never two running copies" in breaches(steps, other)[SQL]
