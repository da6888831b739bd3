"""Observed against declared, one difference at a time, and the actions for it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from controller.model.condition import ConditionType
from controller.model.facts import DomainState, Known, Ownership, Unknown
from controller.plan.actions.desired import (
    AttachNic,
    DetachNic,
    GrowDisk,
    SetCpus,
    SetMemory,
    SetOwnership,
    UpdateNic,
)
from controller.plan.actions.machine import MigrateDomain
from controller.plan.survey.context import Context, InFlight
from tests.plan import builders as b
from tests.plan.builders import GIB
from tests.plan.reading import HOME, actions, ids, plan_of, sentences


@pytest.fixture(name="lab")
def lab_fixture() -> Any:
    return b.small(b.vm("sql"), b.vm("web"))


def test_a_converged_world_has_an_empty_plan(lab: Any) -> None:
    plan = plan_of(lab, b.as_declared(lab, HOME))
    assert plan.steps == ()
    assert plan.remarks == ()


class Flights(tuple[InFlight, ...]):
    """Actions in flight that count how often they are gone through."""

    __slots__ = ()
    looks = 0

    def __iter__(self) -> Iterator[InFlight]:
        Flights.looks += 1
        return super().__iter__()


def test_what_is_in_flight_is_not_gone_through_for_each_vm_that_runs_once() -> None:
    looks = []
    for number in (2, 20):
        desired, Flights.looks = b.small(*(b.vm(f"vm{at}") for at in range(number))), 0
        plan_of(desired, b.as_declared(desired, {}), replace(b.APPLIED, in_flight=Flights()))
        looks.append(Flights.looks)
    assert looks[0] == looks[1]


def test_a_vm_that_is_off_is_started_where_it_is(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.off("sql", "paris-1", lab, "destroyed"))
    plan = plan_of(lab, seen)
    assert ids(plan) == ["start:VirtualMachine/sql@paris-1"]
    assert plan.steps[0].action.reason == "sql is shut off on paris-1 (destroyed) and declared on"


def test_a_vm_that_is_declared_off_is_shut_down() -> None:
    desired = b.small(b.vm("sql", power="off"))
    seen = b.with_domain(b.as_declared(desired, {"sql": "paris-1"}), "paris-1", "sql",
                         b.domain("sql", "paris-1", desired))
    assert ids(plan_of(desired, seen)) == ["shut-down:VirtualMachine/sql@paris-1"]


def test_a_new_vm_is_created_from_the_bottom_up() -> None:
    desired = b.small(b.vm("sql"), b.vm("new", placement={"host": "milan-2"}))
    plan = plan_of(desired, b.as_declared(desired, {"sql": "paris-1"}))
    assert ids(plan) == [
        "create-disk:VirtualMachine/new@milan-2/vda", "define:VirtualMachine/new@milan-2",
        "start:VirtualMachine/new@milan-2"]
    assert plan.steps[2].after == ("define:VirtualMachine/new@milan-2",)


def test_a_vm_whose_definition_is_gone_is_defined_again_where_its_disks_lie(lab: Any) -> None:
    seen = b.as_declared(lab, HOME)
    seen = b.with_domain(seen, "paris-1", "sql", None)  # the pool still holds its disk
    assert ids(plan_of(lab, seen)) == ["define:VirtualMachine/sql@paris-1",
                                       "start:VirtualMachine/sql@paris-1"]


def test_a_running_vm_that_is_not_defined_is_defined(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.domain("sql", "paris-1", lab, persistent=False, config=None))
    plan = plan_of(lab, seen)
    assert ids(plan) == ["define:VirtualMachine/sql@paris-1"]


@pytest.mark.parametrize(("change", "live", "config", "restart"), [
    ({"memory_bytes": GIB}, (SetMemory(2 * GIB),), (), False),
    ({"memory_bytes": GIB, "memory_max_bytes": GIB}, (), (SetMemory(2 * GIB),), True),
    ({"memory_bytes": 3 * GIB, "memory_max_bytes": 4 * GIB}, (), (SetMemory(2 * GIB),), False),
    ({"cpus": 2, "cpus_max": 2}, (), (SetCpus(1),), True),
])
def test_sizes_are_put_right_live_where_that_can_be(
        lab: Any, change: dict[str, int], live: tuple[Any, ...], config: tuple[Any, ...],
        restart: bool) -> None:
    wrong = replace(b.config_of("sql", "paris-1", lab), **change)
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.domain("sql", "paris-1", lab, live=wrong, config=wrong))
    found = {one.id.partition(":")[0] + str(getattr(one, "live", "")): one
             for one in actions(plan_of(lab, seen))}
    assert getattr(found.get("reconfigureTrue"), "changes", ()) == live
    assert getattr(found.get("reconfigureFalse"), "changes", ()) == config
    assert ("restart" in found) is restart


def test_more_cpus_are_given_live_up_to_the_ceiling() -> None:
    desired = b.small(b.vm("sql", cpus=3))
    wrong = replace(b.config_of("sql", "paris-1", desired), cpus=1, cpus_max=4)
    seen = b.with_domain(b.as_declared(desired, {"sql": "paris-1"}), "paris-1", "sql",
                         b.domain("sql", "paris-1", desired, live=wrong, config=wrong))
    assert [one.changes for one in actions(plan_of(desired, seen))] == [(SetCpus(3),)]


def test_a_card_on_the_wrong_vlan_is_put_right_live(lab: Any) -> None:
    good = b.config_of("sql", "paris-1", lab)
    wrong = replace(good, nics=(replace(good.nics[0], vlan=200),))
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.domain("sql", "paris-1", lab, live=wrong, config=wrong))
    [action] = actions(plan_of(lab, seen))
    assert isinstance(action.changes[0], UpdateNic)
    assert action.changes[0].nic.vlan == 100
    assert action.live


def test_a_card_that_is_not_declared_is_pulled_and_a_missing_one_is_plugged_in(lab: Any) -> None:
    good = b.config_of("sql", "paris-1", lab)
    other = replace(good.nics[0], mac="52:54:00:00:00:99")
    wrong = replace(good, nics=(other,))
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.domain("sql", "paris-1", lab, live=wrong, config=wrong))
    first, last = actions(plan_of(lab, seen))
    assert [type(change) for change in first.changes] == [AttachNic]
    assert [type(change) for change in last.changes] == [DetachNic]


def test_a_disk_grows_and_never_shrinks() -> None:
    desired = b.small(b.vm("sql", disks=[{"name": "vda", "size": "20GiB"}]))
    good = b.config_of("sql", "paris-1", desired)
    for size, wanted in ((10 * GIB, [GrowDisk("vda", good.disks[0].source, 20 * GIB)]),
                         (30 * GIB, [])):
        wrong = replace(good, disks=(replace(good.disks[0], size_bytes=size),))
        seen = b.with_domain(b.as_declared(desired, {"sql": "paris-1"}), "paris-1", "sql",
                             b.domain("sql", "paris-1", desired, live=wrong, config=wrong))
        plan = plan_of(desired, seen)
        assert [change for one in actions(plan) for change in one.changes] == wanted
        assert ("disks never shrink" in sentences(plan)) is (not wanted)


def test_a_disk_that_is_not_declared_and_not_ours_is_left_alone(lab: Any) -> None:
    good = b.config_of("sql", "paris-1", lab)
    wrong = replace(good, disks=(*good.disks, replace(
        good.disks[0], target="vdb", source="/srv/other.img")))
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.domain("sql", "paris-1", lab, live=wrong, config=wrong))
    plan = plan_of(lab, seen)
    assert plan.steps == ()
    assert "sql has a disk vdb (/srv/other.img) that is not declared" in sentences(plan)


def test_an_existing_domain_is_taken_over_as_it_is(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.domain("sql", "paris-1", lab, ownership=None))
    [action] = actions(plan_of(lab, seen))
    assert [type(change) for change in action.changes] == [SetOwnership]
    assert action.cause == "new commit"


@pytest.mark.parametrize(("declared", "planned"), [
    ("off", ["disable-autostart:VirtualMachine/sql@paris-1"]), ("keep", [])])
def test_libvirts_own_autostart_is_switched_off_where_that_is_declared(
        declared: str, planned: list[str]) -> None:
    lab = b.small(b.vm("sql", autostart=declared), b.vm("web"))
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.domain("sql", "paris-1", lab, autostart=True))
    assert ids(plan_of(lab, seen)) == planned


@pytest.mark.parametrize(("state", "reason", "verb", "word"), [
    (DomainState.PAUSED, "user", ["resume:VirtualMachine/sql@paris-1"], ""),
    (DomainState.PAUSED, "ioerror", [], "free space in its pool"),
    (DomainState.PAUSED, "watchdog", [], "then `virsh resume sql`"),
    (DomainState.PAUSED, "unknown", [], "then `virsh resume sql`"),
    (DomainState.PAUSED, "panicked", [], "`virsh destroy sql`"),
    (DomainState.PAUSED, "migrating", [], "see that no other host runs it, then"),
    (DomainState.PAUSED, "post-copy failed", [], "never destroy it"),
    (DomainState.SUSPENDED, "unknown", [], "`virsh dompmwakeup sql`"),
    (DomainState.SHUTTING_DOWN, "user", [], "it is left to end"),
    (DomainState.PAUSED, "starting up", [], "sql is starting on paris-1"),
])
def test_a_vm_in_another_state(lab: Any, state: DomainState, reason: str, verb: list[str],
                               word: str) -> None:
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.domain("sql", "paris-1", lab, state=state, state_reason=reason))
    plan = plan_of(lab, seen)
    assert ids(plan) == verb
    assert word in sentences(plan)


@pytest.mark.parametrize("reason", ["post-copy", "post-copy failed", "panicked", "crashed"])
def test_no_resume_is_advised_that_libvirt_refuses_or_that_helps_nobody(
        lab: Any, reason: str) -> None:
    for state in (DomainState.SUSPENDED, DomainState.PAUSED):
        seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql", b.domain(
            "sql", "paris-1", lab, state=state, state_reason=reason))
        assert "virsh resume" not in sentences(plan_of(lab, seen))


def test_nothing_is_done_to_a_vm_with_a_job(lab: Any) -> None:
    wrong = replace(b.config_of("sql", "paris-1", lab), memory_bytes=GIB)
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.domain("sql", "paris-1", lab, live=wrong, job="migration"))
    plan = plan_of(lab, seen)
    assert plan.steps == ()
    assert "libvirt job running on paris-1 (migration)" in sentences(plan)


def test_a_vm_that_is_starting_waits_for_nobody(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.domain("sql", "paris-1", lab, state=DomainState.PAUSED,
                                  state_reason="starting up"))
    about = {one.type: one for one in plan_of(lab, seen).conditions
             if one.target == "VirtualMachine/sql"}
    assert ConditionType.STALLED not in about
    assert about[ConditionType.READY].reason == "InMotion"


def test_a_vm_that_somebody_moves_is_in_motion_and_not_two_copies(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.domain("sql", "paris-1", lab, job="Outgoing migration"))
    seen = b.with_domain(seen, "paris-2", "sql", b.domain("sql", "paris-2", lab))
    plan = plan_of(lab, seen)
    assert plan.steps == ()
    assert "libvirt job running on paris-1 (Outgoing migration)" in sentences(plan)
    assert "TWO RUNNING COPIES" not in sentences(plan)


def test_a_vm_on_the_wrong_host_is_migrated_with_its_disks() -> None:
    desired = b.small(b.vm("sql", placement={"host": "paris-2"}))
    seen = b.as_declared(desired, {"sql": "paris-1"})
    [action] = actions(plan_of(desired, seen))
    assert isinstance(action, MigrateDomain)
    assert (action.node, action.to, action.with_storage) == ("paris-1", "paris-2", True)
    assert action.disks[0].path == "/var/lib/libvirt/images/sql-vda.qcow2"
    assert action.reason == "sql is on paris-1 and belongs on paris-2: it is pinned to paris-2"
    assert action.consequence == "live, 10 GiB of disks to copy"


def test_a_vm_that_is_off_on_the_wrong_host_starts_there_and_then_moves() -> None:
    desired = b.small(b.vm("sql", placement={"site": "milan"}))
    seen = b.with_domain(b.as_declared(desired, {"sql": "paris-1"}), "paris-1", "sql",
                         b.off("sql", "paris-1", desired))
    plan = plan_of(desired, seen)
    assert ids(plan) == ["start:VirtualMachine/sql@paris-1",
                         "migrate:VirtualMachine/sql@paris-1/milan-1"]
    assert plan.steps[1].after == ("start:VirtualMachine/sql@paris-1",)


def test_a_vm_declared_off_on_the_wrong_host_moves_when_it_next_runs() -> None:
    desired = b.small(b.vm("sql", power="off", placement={"host": "paris-2"}))
    plan = plan_of(desired, b.as_declared(desired, {"sql": "paris-1"}))
    assert plan.steps == ()
    assert "it moves when it next runs" in sentences(plan)


def test_a_drained_host_is_emptied_and_receives_nothing() -> None:
    desired = b.desired_of(b.estate(), *b.survey(), *(
        b.vm(name, placement={"site": "paris"}) for name in ("a", "b", "c")))
    hosts = {**desired.hosts, "paris-1": b.document(
        "Host", "paris-1", site="paris", address="paris-1", maintenance=True)}
    desired = replace(desired, hosts=hosts)
    plan = plan_of(desired, b.as_declared(desired, {"a": "paris-1", "b": "paris-1",
                                                    "c": "paris-2"}))
    assert ids(plan) == ["migrate:VirtualMachine/a@paris-1/paris-2",
                         "migrate:VirtualMachine/b@paris-1/paris-2"]


def test_a_pool_that_is_not_there_is_created_before_the_disks_in_it() -> None:
    desired = b.small(b.vm("new", placement={"host": "paris-1"}))
    seen = b.as_declared(desired, {})
    fact = seen.nodes["paris-1"]
    assert isinstance(fact, Known)
    bare = Known(replace(fact.value, pools=Known({}, b.NOW_S)), b.NOW_S)
    plan = plan_of(desired, b.with_node(seen, "paris-1", bare))
    assert ids(plan)[:2] == ["create-pool:Host/paris-1@paris-1/default",
                             "create-disk:VirtualMachine/new@paris-1/vda"]
    assert plan.steps[1].after == (ids(plan)[0],)


def test_a_foreign_domain_is_never_touched_but_takes_room() -> None:
    desired = b.small(b.vm("big", memory="100GiB", placement={"site": "paris"}))
    config = replace(b.config_of("big", "paris-1", desired), disks=(), nics=())
    guest = replace(b.domain("big", "paris-1", desired, ownership=None, uuid="another",
                             live=config, config=config), name="other")
    seen = b.with_domain(b.as_declared(desired, {}), "paris-1", "other", guest)
    plan = plan_of(desired, seen)
    assert {step.action.node for step in plan.steps} == {"paris-2"}
    assert {step.action.target for step in plan.steps} == {"VirtualMachine/big"}


def test_a_new_commit_and_drift_are_told_apart(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.off("sql", "paris-1", lab))
    for policy, cause in ((b.APPLIED, "drift"), (Context(), "new commit"),
                          (replace(b.APPLIED, changed=frozenset({"VirtualMachine/sql"})),
                           "new commit")):
        assert plan_of(lab, seen, policy).steps[0].action.cause == cause


def test_a_silent_host_is_remarked_on_with_what_ran_there(lab: Any) -> None:
    plan = plan_of(lab, b.silenced(b.as_declared(lab, HOME), "paris-1"))
    assert plan.steps == ()
    assert ("paris-1 has not answered for 3m10s (connection timed out; last seen with sql running):"
            " nothing is done about its VMs") in sentences(plan)
    assert all(remark.unknown for remark in plan.remarks)


def test_a_silent_libvirt_is_a_silent_host_for_its_vms(lab: Any) -> None:
    seen = b.as_declared(lab, HOME)
    fact = seen.nodes["paris-1"]
    assert isinstance(fact, Known)
    inner = fact.value.domains
    assert isinstance(inner, Known)
    dead = Unknown("libvirtd is not running", b.NOW_S - 5, inner.value, b.NOW_S - 5)
    plan = plan_of(lab, b.with_node(
        seen, "paris-1", Known(replace(fact.value, domains=dead), b.NOW_S)))
    assert plan.steps == ()
    assert ("libvirt on paris-1 does not answer (libvirtd is not running; last seen with sql"
            " running)") in sentences(plan)


def test_start_order_decides_who_starts_first() -> None:
    desired = b.small(b.vm("a", startOrder=50), b.vm("z", startOrder=10))
    seen = b.as_declared(desired, {"a": "paris-1", "z": "paris-1"})
    for name in ("a", "z"):
        seen = b.with_domain(seen, "paris-1", name, b.off(name, "paris-1", desired))
    assert ids(plan_of(desired, seen)) == ["start:VirtualMachine/z@paris-1",
                                           "start:VirtualMachine/a@paris-1"]


def test_two_vms_that_change_places_without_room_are_refused_with_a_sentence() -> None:
    desired = b.small(b.vm("a", memory="100GiB", placement={"host": "paris-2"}),
                      b.vm("z", memory="100GiB", placement={"host": "paris-1"}))
    plan = plan_of(desired, b.as_declared(desired, {"a": "paris-1", "z": "paris-2"}))
    assert [step.ruling.rule for step in plan.steps] == ["order", "order"]
    assert "has room for both" in plan.steps[0].ruling.clears


def test_a_domain_that_carries_the_mark_of_another_estate_is_left_alone(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql", b.off(
        "sql", "paris-1", lab, ownership=Ownership("other", "delete")))
    plan = plan_of(lab, seen)
    assert plan.steps == ()
    assert "carries the mark of estate other" in sentences(plan)


def test_disks_in_a_shared_pool_stay_where_they_are_when_the_vm_moves() -> None:
    pools = [{"name": "default", "path": "/srv/shared", "shared": True}]
    desired = b.desired_of(b.estate(), *b.survey(pools=pools),
                           b.vm("sql", placement={"host": "paris-2"}))
    [action] = actions(plan_of(desired, b.as_declared(desired, {"sql": "paris-1"})))
    assert (action.with_storage, action.consequence) == (False, "live")
