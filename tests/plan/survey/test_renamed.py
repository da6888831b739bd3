"""A renamed object stays the same object: nothing is created, moved, lost or forgotten."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.condition import ConditionType, Status
from controller.model.document import Rung
from controller.plan.actions.machine import DefineDomain, RemoveDomain, StartDomain
from controller.plan.actions.replica import ReplicateDomain, VerifyReplica
from controller.plan.actions.storage import CreateDisk
from controller.plan.compute import compute
from controller.plan.steps.plan import Verdict
from controller.plan.survey.context import (
    Context,
    InFlight,
    ReplicaRequest,
    RequestKind,
    Suspension,
)
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.reading import actions, sentences
from tests.plan.renaming import called

PROD = "VirtualMachine/sql-prod"


def plan_of(desired: Any, seen: Any, policy: Context = b.APPLIED) -> Any:
    return compute(desired, seen, policy, b.NOW_S)


def vm_of(old: Any, name: str, **spec: Any) -> Any:
    """The VM sql under another name."""
    nics = [{"network": nic.network, "mac": nic.mac}
            for nic in old.virtual_machines["sql"].spec.nics]
    return b.vm(name, nics=nics, **spec)


def renamed(old: Any, seen: Any, name: str = "sql-prod", **spec: Any) -> tuple[Any, Any]:
    """Specs in which sql has another name, and its mark written anew."""
    desired = b.small(vm_of(old, name, formerly="sql", **spec))
    plan = plan_of(desired, seen)
    assert [step.action.verb for step in plan.steps] == ["reconfigure"]
    step = plan.steps[0].action
    domain = seen.nodes[step.node].value.domains.value["sql"]
    return desired, b.with_domain(seen, step.node, "sql", replace(
        domain, ownership=step.changes[0].ownership))


def test_a_renamed_vm_moves_under_the_name_that_libvirt_has_for_it() -> None:
    old = b.small(b.vm("sql"))
    _, seen = renamed(old, b.as_declared(old, {"sql": "paris-1"}))
    desired = b.small(vm_of(old, "sql-prod", formerly="sql", placement={"host": "milan-1"}))
    action = plan_of(desired, seen).steps[0].action
    assert (action.verb, action.target, action.domain) == ("migrate", PROD, "sql")
    assert [one.path.rpartition("/")[2] for one in action.disks] == ["sql-prod-vda.qcow2"]


def test_a_renamed_vm_is_started_under_the_name_that_libvirt_has_for_it() -> None:
    old = b.small(b.vm("sql"))
    desired, seen = renamed(old, b.as_declared(old, {"sql": "paris-1"}))
    domain = seen.nodes["paris-1"].value.domains.value["sql"]
    off = b.off("sql", "paris-1", old, ownership=domain.ownership)
    plan = plan_of(desired, b.with_domain(seen, "paris-1", "sql", off))
    assert [(step.action.verb, step.action.domain) for step in plan.steps] == [("start", "sql")]


def test_a_renamed_vm_keeps_its_replica() -> None:
    old = b.small(b.vm("sql", protection="gold"))
    seen = r.with_replica(r.asked(b.as_declared(old, {"sql": "paris-1"}), old), "milan-1",
                          r.replica("sql", r.series(3, 60)))
    desired, seen = renamed(old, seen, protection="gold")
    assert plan_of(desired, seen).steps == ()
    assert not [one for one in plan_of(desired, seen).remarks if "is left alone" in one.sentence]
    asked = replace(b.APPLIED, requests=(ReplicaRequest("sql", RequestKind.COPY, "ann", b.NOW_S),))
    step = plan_of(desired, seen, asked).steps[0].action
    assert isinstance(step, ReplicateDomain)
    assert (step.target, step.machine, step.domain) == ("Replica/sql-prod", "sql-prod", "sql")
    assert step.sequence == 4
    asked = replace(asked, requests=(ReplicaRequest("sql", RequestKind.VERIFY, "ann", b.NOW_S),))
    assert isinstance(plan_of(desired, seen, asked).steps[0].action, VerifyReplica)


def test_a_renamed_vm_that_is_nowhere_is_not_made_anew_beside_its_replica_or_its_files() -> None:
    old = b.small(b.vm("sql", protection="gold"))
    desired = b.small(vm_of(old, "sql-prod", formerly="sql", protection="gold"))
    empty = r.asked(b.as_declared(old, {}), old)
    kept = r.with_replica(empty, "milan-1", r.replica("sql", r.series(3, 60)))
    plan = plan_of(desired, kept)
    assert plan.steps == ()
    assert any("it is not created with empty disks" in one.sentence for one in plan.remarks)
    lying = b.node("paris-2", old, {"sql": b.off("sql", "paris-2", old)})
    bare = replace(lying.value, domains=b.node("paris-2", old).value.domains)
    plan = plan_of(desired, b.with_node(kept, "paris-2", replace(lying, value=bare)))
    assert [type(step.action) for step in plan.steps][:2] == [DefineDomain, StartDomain]
    made = plan.steps[0].action.desired
    assert [one.path for one in made.disks] == ["/var/lib/libvirt/images/sql-vda.qcow2"]


def test_a_vm_of_which_a_name_of_before_is_missing_is_not_removed_for_that() -> None:
    """It was `a`, then `b`, and its host was silent all that time: its mark still says `a`."""
    before = b.small(b.vm("a", deletion="delete", nics=[]))
    now = b.small(b.vm("c", formerly="b", nics=[]), limits={"deletes": 9, "removalGrace": "0s"})
    seen = b.observed_of(now, {"paris-1": {"a": b.domain("a", "paris-1", before)}})
    for stood, verdict in (({"c": "paris-1"}, Verdict.NEEDS_APPROVAL),
                           ({"c": "milan-1"}, Verdict.ALLOWED), ({}, Verdict.ALLOWED)):
        plan = plan_of(now, seen, replace(b.APPLIED, last_host=stood))
        (step,) = [one for one in plan.steps if isinstance(one.action, RemoveDomain)]
        assert step.ruling.verdict is verdict
    assert "write `formerly: a` into it" in plan_of(now, seen, replace(
        b.APPLIED, last_host={"c": "paris-1"})).steps[-1].ruling.sentence
    whole = b.small(b.vm("c", formerly=["b", "a"], nics=[]), limits={"deletes": 9})
    assert not [one for one in actions(plan_of(whole, seen)) if isinstance(one, RemoveDomain)]


def test_a_name_that_a_vm_had_is_no_name_for_a_new_one() -> None:
    card = [{"network": "office", "mac": "52:54:00:00:00:07"}]
    was = b.small(b.vm("a", nics=card))
    now = b.small(b.vm("a", nics=[]), b.vm("b", nics=card))
    mark = b.Ownership("lab", "keep", "b", uuid=b.domain_uuid("lab", "a"), domain="a")
    seen = b.observed_of(now, {"paris-1": {"a": b.domain("a", "paris-1", was, ownership=mark)}})
    plan = plan_of(now, seen)
    assert plan.steps == ()
    assert "b, which libvirt calls a, on paris-1 (running) has its uuid" in sentences(plan)
    assert "declare the new one under a name that none ever had" in sentences(plan)


def test_a_renamed_vm_is_not_removed_under_its_old_name() -> None:
    old = b.small(b.vm("sql", deletion="delete"))
    desired = b.small(vm_of(old, "sql-prod", formerly="sql", deletion="delete"),
                      limits={"deletes": 9})
    plan = plan_of(desired, b.as_declared(old, {"sql": "paris-1"}))
    assert not [step for step in plan.steps if isinstance(step.action, RemoveDomain | CreateDisk)]


def test_pauses_and_what_goes_on_follow_a_renamed_vm() -> None:
    old = b.small(b.vm("sql"))
    desired = b.small(vm_of(old, "sql-prod", formerly="sql"))
    seen = b.as_declared(old, {"sql": "paris-1"})
    pause = Suspension("VirtualMachine/sql", "ann", "a look", b.NOW_S + 60)
    step, = plan_of(desired, seen, replace(b.APPLIED, suspensions=(pause,))).steps
    assert step.ruling.rule == "suspended"
    moving = InFlight("migrate:VirtualMachine/sql@paris-1/milan-1", "VirtualMachine/sql",
                      ("paris-1", "milan-1"), Rung.MIGRATE)
    both = b.with_domain(seen, "milan-1", "sql", b.domain("sql", "milan-1", old))
    plan = plan_of(desired, both, replace(b.APPLIED, in_flight=(moving,)))
    assert plan.steps == ()
    assert any("is being moved by us" in one.sentence for one in plan.remarks)
    often = replace(b.APPLIED, repairs={"VirtualMachine/sql": tuple(
        b.NOW_S - number for number in (5, 4, 3, 2, 1))})
    down = b.with_domain(seen, "paris-1", "sql", b.off("sql", "paris-1", old))
    assert {step.ruling.rule for step in plan_of(desired, down, often).steps} == {"quarantine"}


def test_what_somebody_renamed_is_copied_all_the_same() -> None:
    old = b.small(b.vm("sql", protection="gold"))
    seen = r.with_replica(r.asked(b.as_declared(old, {}), old), "milan-1",
                          r.replica("sql", r.series(3, 400)))
    seen = b.with_domain(seen, "paris-1", "sql-tmp", replace(
        b.domain("sql", "paris-1", old), name="sql-tmp"))
    step, = plan_of(old, seen).steps
    assert isinstance(step.action, ReplicateDomain)
    assert (step.action.target, step.action.domain) == ("Replica/sql", "sql-tmp")


def test_the_port_of_another_guest_with_the_same_card_is_left_alone() -> None:
    old = b.small(b.vm("sql"))
    config = b.config_of("sql", "paris-1", old)
    other = replace(b.domain("sql", "paris-1", old, ownership=None), name="by-hand", uuid="u",
                    live=replace(config, disks=(), nics=tuple(
                        replace(nic, vlan=7, device="vnet9") for nic in config.nics)))
    here = {"sql": b.domain("sql", "paris-1", old), "by-hand": other}
    seen = b.with_node(b.as_declared(old, {}), "paris-1", b.node("paris-1", old, here))
    assert plan_of(old, seen).steps == ()


@pytest.mark.parametrize("silent", [False, True])
def test_what_a_renamed_host_said_is_its_own(silent: bool) -> None:
    old = b.small(b.vm("sql", placement={"site": "paris"}), b.vm("new"))
    seen = b.as_declared(old, {"sql": "paris-1"})
    desired = called(old, "hosts", "paris-1", "par-1")
    if silent:
        seen = b.silenced(seen, "paris-1")
    # it was not looked at under its new name yet: nothing is made that it may hold
    plan = plan_of(desired, seen)
    assert not [step for step in plan.steps if isinstance(step.action, CreateDisk | DefineDomain)]
    assert any("sql was last seen on par-1" in one.sentence for one in plan.remarks)
    # it answers under its new name: what it said before is history, and no host was removed
    fact = b.as_declared(desired, {"sql": "par-1"}).nodes["par-1"]
    plan = plan_of(desired, b.with_node(seen, "par-1", fact))
    assert {step.action.target for step in plan.steps} == {"VirtualMachine/new"}
    assert not [one for one in plan.remarks if "left the specs" in one.sentence]


def test_a_renamed_estate_keeps_its_vms() -> None:
    old = b.small(b.vm("sql", protection="gold", deletion="delete"))
    seen = r.with_replica(r.asked(b.as_declared(old, {"sql": "paris-1"}), old), "milan-1",
                          r.replica("sql", r.series(3, 60)))
    document = old.estate.model_copy(update={
        "metadata": old.estate.metadata.model_copy(update={"name": "firm"}),
        "spec": old.estate.spec.model_copy(update={"formerly": ("lab",)})})
    desired = replace(old, estate=document)
    plan = plan_of(desired, seen)
    assert [step.action.verb for step in plan.steps] == ["reconfigure"]
    assert plan.steps[0].action.changes[0].ownership.estate == "firm"
    assert not [one for one in plan.conditions if one.type is ConditionType.STALLED]
    # without the word they are another estate's, and are left alone
    strange = replace(desired, estate=document.model_copy(update={
        "spec": document.spec.model_copy(update={"formerly": ()})}))
    stalled = [one for one in plan_of(strange, seen).conditions
               if one.type is ConditionType.STALLED]
    assert [(one.status, one.reason) for one in stalled] == [(Status.TRUE, "AnotherEstates")]
    assert "formerly: lab" in stalled[0].message


def test_a_renamed_site_or_network_changes_nothing() -> None:
    old = b.small(b.vm("sql", placement={"site": "paris"}))
    seen = b.as_declared(old, {"sql": "paris-1"})

    desired = called(called(old, "sites", "paris", "lutetia"), "networks", "office", "bureau")
    assert plan_of(desired, seen).steps == ()
    pause = Suspension("Site/paris", "ann", "a look", b.NOW_S + 60)
    down = b.with_domain(seen, "paris-1", "sql", b.off("sql", "paris-1", old))
    plan = plan_of(desired, down, replace(b.APPLIED, suspensions=(pause,)))
    assert {step.ruling.rule for step in plan.steps} == {"suspended"}
