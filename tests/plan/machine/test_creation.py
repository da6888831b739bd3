"""A VM that exists nowhere: created if nothing of it is left, else left alone."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import Known, Observed, VolumeFacts
from controller.plan.actions.machine import DefineDomain, StartDomain
from controller.plan.actions.storage import CreateDisk
from controller.plan.machine.domain import disk_file
from controller.plan.steps.plan import Plan
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.lawful import assert_lawful
from tests.plan.reading import actions, ids, plan_of, sentences

POINTS = r.series(12, 290)


@pytest.fixture(name="lab")
def lab_fixture() -> Any:
    return b.small(b.vm("sql", protection="gold"), b.document("ProtectionPolicy", "gold", rpo="5m"))


def nowhere(lab: Any) -> Observed:
    """Every host answers, and none has sql or a replica of it."""
    return r.asked(b.as_declared(lab, {}), lab)


def stalled(plan: Plan) -> tuple[str, str, str]:
    (found,) = [one for one in plan.conditions
                if one.type == "Stalled" and one.target == "VirtualMachine/sql"]
    return found.status.value, found.reason, found.message


def test_what_never_was_is_made(lab: Any) -> None:
    assert [type(one) for one in actions(plan_of(lab, nowhere(lab)))] == [
        CreateDisk, DefineDomain, StartDomain]


@pytest.mark.parametrize("kept", [
    r.replica("sql", POINTS), replace(r.replica("sql", POINTS), uuid="of-an-adopted-one"),
    r.replica("sql", (r.point(3, 60, damaged_clusters=2),)),
    r.replica("sql", unreadable="state.json is torn"),
], ids=["its own", "of another uuid", "damaged", "unreadable"])
def test_what_has_a_replica_is_not_begun_anew_with_empty_disks(lab: Any, kept: Any) -> None:
    plan = plan_of(lab, r.with_replica(nowhere(lab), "milan-1", kept))
    assert ids(plan) == []
    status, reason, message = stalled(plan)
    assert (status, reason) == ("true", "OnlyReplica")
    assert "hotsite replica export sql" in message
    assert kept.path in message


def test_nor_what_had_one_on_a_host_whose_replicas_cannot_be_seen_now(lab: Any) -> None:
    plan = plan_of(lab, b.as_declared(lab, {}))
    assert ids(plan) == []
    assert "sql is on no host and is not created: a replica of it may be on milan-1" in (
        sentences(plan))


def test_an_empty_folder_holds_nothing_back(lab: Any) -> None:
    plan = plan_of(lab, r.with_replica(nowhere(lab), "milan-1", r.replica("sql")))
    assert [type(one) for one in actions(plan)] == [CreateDisk, DefineDomain, StartDomain]


def test_what_was_undefined_and_has_its_disks_is_defined_again(lab: Any) -> None:
    seen = r.with_replica(nowhere(lab), "milan-1", r.replica("sql", POINTS))
    fact = seen.nodes["paris-1"]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.pools, Known)
    (disk,) = lab.virtual_machines["sql"].spec.disks
    name = disk_file("sql", disk)
    pools = {key: replace(pool, volumes={name: VolumeFacts(name, "qcow2", disk.size_bytes, 0)})
             for key, pool in fact.value.pools.value.items()}
    seen = b.with_node(seen, "paris-1", Known(
        replace(fact.value, pools=Known(pools, b.NOW_S)), b.NOW_S))
    assert [type(one) for one in actions(plan_of(lab, seen))] == [DefineDomain, StartDomain]


def test_the_law_forbids_it_whatever_made_the_plan(lab: Any) -> None:
    plan = plan_of(lab, nowhere(lab))
    assert_lawful(plan, nowhere(lab))
    with pytest.raises(AssertionError, match="the last good restore point is kept: create-disk"):
        assert_lawful(plan, r.with_replica(nowhere(lab), "milan-1", r.replica("sql", POINTS)))
