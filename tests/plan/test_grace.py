"""What the specs name no longer is missing for a while before anything goes, and then set aside."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import Known, Observed, VolumeFacts
from controller.plan.actions import CreateDisk, DefineDomain, StartDomain
from controller.plan.aside import aside_suffix, parse_aside
from controller.plan.plan import Verdict
from controller.plan.policy import Policy
from controller.plan.storage_actions import PurgeFiles, ReturnDisk
from tests.plan import builders as b
from tests.plan.reading import actions, plan_of, sentences

NEW = b.small(limits={"deletes": 1})
OLD = b.small(b.vm("sql", deletion="delete"))
REMOVE = "remove:VirtualMachine/sql@paris-1"
DAY_S = 86400.0


def since(age_s: float) -> Policy:
    return replace(b.APPLIED, waiting={REMOVE: b.NOW_S - age_s})


@pytest.mark.parametrize(("policy", "verdict", "due_s"), [
    (b.APPLIED, Verdict.WAITING, 600), (since(599), Verdict.WAITING, 1),
    (since(600), Verdict.ALLOWED, None), (since(-9999), Verdict.WAITING, 600)],
    ids=["first seen", "not yet", "long enough", "a clock that went back"])
def test_a_removal_waits_and_says_until_when(policy: Policy, verdict: Verdict,
                                             due_s: float | None) -> None:
    plan = plan_of(NEW, b.as_declared(OLD, {"sql": "paris-1"}), policy)
    (step,) = plan.steps
    assert step.ruling.verdict is verdict
    assert plan.due_at == (None if due_s is None else b.NOW_S + due_s)
    if due_s is not None:
        assert step.ruling.rule == "grace"
        assert "hotsite approve remove:VirtualMachine/sql@paris-1" in step.ruling.clears


def test_the_name_of_what_is_set_aside_says_when_it_was() -> None:
    suffix = aside_suffix(b.NOW_S)
    assert suffix == ".hotsite-removed-19700112T134640Z"
    assert parse_aside(f"sql-vda.qcow2{suffix}") == ("sql-vda.qcow2", b.NOW_S)
    action = actions(plan_of(NEW, b.as_declared(OLD, {"sql": "paris-1"}), since(600)))[0]
    assert action.suffix == aside_suffix(b.NOW_S - 600)


@pytest.mark.parametrize("name", [
    "sql.removed-19700112T134640Z", "sql.hotsite-removed-", "sql.hotsite-removed-now",
    ".hotsite-removed-19700112T134640Z", "sql.hotsite-removed-19700112T134640Z.bak"])
def test_no_other_name_is_taken_for_one(name: str) -> None:
    assert parse_aside(name) is None


def with_file(seen: Observed, host: str, name: str) -> Observed:
    fact = seen.nodes[host]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.pools, Known)
    pools = {key: replace(pool, volumes={**pool.volumes, name: VolumeFacts(
        name, "qcow2", 10 * b.GIB, 0)}) for key, pool in fact.value.pools.value.items()}
    return b.with_node(seen, host, replace(fact, value=replace(
        fact.value, pools=Known(pools, b.NOW_S))))


def aside(age_s: float, name: str = "sql-vda.qcow2") -> str:
    return name + aside_suffix(b.NOW_S - age_s)


def test_what_was_set_aside_long_ago_is_deleted_and_the_rest_is_told_of() -> None:
    lab = b.small()
    seen = with_file(with_file(b.as_declared(lab), "paris-1", aside(8 * DAY_S)), "milan-1",
                     aside(6 * DAY_S, "web-vda.qcow2"))
    plan = plan_of(lab, seen)
    (step,) = plan.steps
    assert isinstance(step.action, PurgeFiles)
    assert step.action.paths == (f"/var/lib/libvirt/images/{aside(8 * DAY_S)}",)
    assert step.ruling.verdict is Verdict.ALLOWED
    assert "web-vda.qcow2.hotsite-removed-" in sentences(plan)
    assert "to keep it, give it another name" in sentences(plan)
    assert plan.due_at == b.NOW_S + DAY_S
    (asked,) = plan_of(b.small(autonomy="prune"), seen).steps
    assert asked.ruling.verdict is Verdict.NEEDS_APPROVAL


def test_what_a_domain_uses_is_never_purged() -> None:
    lab = b.small(b.vm("sql"))
    config = b.config_of("sql", "paris-1", lab)
    path = f"/var/lib/libvirt/images/{aside(8 * DAY_S)}"
    wide = replace(config, disks=(replace(config.disks[0], source=path),))
    other = replace(b.domain("sql", "paris-1", lab, ownership=None, live=wide, config=wide),
                    name="other", uuid="other")
    seen = b.with_domain(b.as_declared(lab, {"sql": "paris-1"}), "paris-1", "other", other)
    plan = plan_of(lab, with_file(seen, "paris-1", aside(8 * DAY_S)))
    assert not [one for one in actions(plan) if isinstance(one, PurgeFiles)]
    assert "other on paris-1 has it as a disk" in sentences(plan)


@pytest.mark.parametrize("host", ["paris-1", "milan-2"])
def test_a_vm_that_comes_back_gets_its_disks_back_where_they_lie(host: str) -> None:
    lab = b.small(b.vm("sql", placement={"site": "paris"}))
    seen = with_file(with_file(b.as_declared(lab, {}), host, aside(DAY_S)), host, aside(3 * DAY_S))
    found: Any = [one for one in actions(plan_of(lab, seen, replace(
        b.APPLIED, stood={"sql": host}))) if one.target == "VirtualMachine/sql"]
    assert [type(one) for one in found][:3] == [ReturnDisk, DefineDomain, StartDomain]
    assert {one.node for one in found[:3]} == {host}
    assert found[0].suffix == aside_suffix(b.NOW_S - DAY_S)


def test_a_disk_that_has_its_own_name_goes_before_one_that_was_set_aside() -> None:
    lab = b.small(b.vm("sql"))
    seen = with_file(with_file(b.as_declared(lab, {}), "milan-1", aside(DAY_S)), "paris-1",
                     "sql-vda.qcow2")
    found = actions(plan_of(lab, seen))
    assert [type(one) for one in found] == [DefineDomain, StartDomain]
    assert {one.node for one in found} == {"paris-1"}


def test_a_disk_that_was_not_set_aside_with_the_others_is_asked_about() -> None:
    lab = b.small(b.vm("sql", disks=[{"name": "vda", "size": "10GiB"},
                                     {"name": "vdb", "size": "1GiB"}]))
    plan = plan_of(lab, with_file(b.as_declared(lab, {}), "paris-1", aside(DAY_S)),
                   replace(b.APPLIED, stood={"sql": "paris-1"}))
    verdicts = {type(step.action): step.ruling.rule for step in plan.steps}
    assert verdicts[CreateDisk] == "anew"
    assert verdicts[ReturnDisk] == ""
