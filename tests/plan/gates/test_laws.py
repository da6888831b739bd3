"""The laws of plans, each with a plan that would break it."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import DomainState, Known, Ownership, PortFacts, Unknown
from controller.plan.actions.machine import (
    DefineDomain,
    RemoveDomain,
    ResumeDomain,
    StartDomain,
)
from controller.plan.compute import compute
from controller.plan.machine.domain import desired_domain
from controller.plan.steps.plan import Plan, Step, Verdict
from controller.plan.survey.survey import take_survey
from tests.plan import builders as b
from tests.plan.lawful import assert_lawful

HOME = {"sql": "paris-1", "web": "milan-1"}
SQL = "VirtualMachine/sql"


@pytest.fixture(name="lab")
def lab_fixture() -> Any:
    return b.small(b.vm("sql"), b.vm("web"))


def plan_of(desired: Any, observed: Any) -> Plan:
    return compute(desired, observed, b.APPLIED, b.NOW_S)


def about(plan: Plan, target: str) -> str:
    return "\n".join(one.sentence for one in plan.remarks if one.target == target)


def touched(plan: Plan) -> set[str]:
    return {step.action.target for step in plan.steps}


# Unknown is never absent.

def test_silence_creates_moves_and_deletes_nothing(lab: Any) -> None:
    seen = b.silenced(b.as_declared(lab, HOME), "paris-1")
    assert touched(plan_of(lab, seen)) == set()


def test_a_host_that_was_never_seen_blocks_every_creation(lab: Any) -> None:
    seen = b.never_seen(b.as_declared(lab, {"web": "milan-1"}), "paris-2")
    plan = plan_of(lab, seen)
    assert touched(plan) == set()
    assert "sql is not created: paris-2" in about(plan, SQL)
    assert "remove it from the specs" in about(plan, SQL)


def test_a_host_that_was_seen_without_the_vm_blocks_its_creation_too(lab: Any) -> None:
    seen = b.silenced(b.as_declared(lab, {"web": "milan-1"}), "paris-2")
    plan = plan_of(lab, seen)
    assert touched(plan) == set()
    assert "paris-2 has not answered for 3m10s and might hold it" in about(plan, SQL)


def test_an_action_on_a_silent_node_is_unlawful(lab: Any) -> None:
    seen = b.silenced(b.as_declared(lab, HOME), "paris-1")
    bad = Plan("r1", (Step(StartDomain(target=SQL, node="paris-1", domain="sql", reason="x")),))
    with pytest.raises(AssertionError, match="unknown is never absent: .* paris-1"):
        assert_lawful(bad, seen)


# Never two running copies.

def two_copies(desired: Any) -> Any:
    return b.with_domain(b.as_declared(desired, HOME), "paris-2", "sql",
                         b.domain("sql", "paris-2", desired))


def test_two_running_copies_are_said_aloud_and_left_alone(lab: Any) -> None:
    plan = plan_of(lab, two_copies(lab))
    assert touched(plan) == set()
    assert "TWO RUNNING COPIES of sql, on paris-1 and paris-2" in about(plan, SQL)
    stalled = [one for one in plan.conditions if one.type == "Stalled"]
    assert [(one.target, one.reason) for one in stalled] == [(SQL, "TwoRunningCopies")]


def test_of_two_running_copies_not_even_the_vlan_is_touched(lab: Any) -> None:
    mac = lab.virtual_machines["sql"].spec.nics[0].mac
    seen = b.with_port(two_copies(lab), "paris-1",
                       PortFacts("vnet-sql", 7, (), None, True, mac), "vnet-sql")
    assert touched(plan_of(lab, seen)) == set()


def test_a_copy_that_is_being_received_is_no_second_copy(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-2", "sql", b.domain(
        "sql", "paris-2", lab, state=DomainState.INCOMING))
    plan = plan_of(lab, seen)
    assert touched(plan) == set()
    assert "sql is being received by paris-2" in about(plan, SQL)


@pytest.mark.parametrize("last_seen", ["running", "never seen"])
def test_a_vm_that_may_run_on_a_silent_host_is_not_started_elsewhere(
        lab: Any, last_seen: str) -> None:
    seen = b.as_declared(lab, HOME)
    hush = b.silenced if last_seen == "running" else b.never_seen
    seen = hush(seen, "paris-1")
    seen = b.with_domain(seen, "paris-2", "sql", b.off("sql", "paris-2", lab))
    plan = plan_of(lab, seen)
    assert touched(plan) == set()
    assert "sql is not started on paris-2: paris-1" in about(plan, SQL)
    assert "bring paris-1 back" in about(plan, SQL)


def test_a_silent_host_that_was_last_seen_without_the_vm_does_not_block_its_start(
        lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.off("sql", "paris-1", lab))
    assert touched(plan_of(lab, b.silenced(seen, "paris-2"))) == {SQL}


def test_a_copy_that_was_migrated_away_is_never_started(lab: Any) -> None:
    stale = b.off("sql", "paris-1", lab, reason="migrated")
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql", stale)
    plan = plan_of(lab, seen)
    assert touched(plan) == set()
    assert "its copy on paris-1 may be old" in about(plan, SQL)
    hidden = plan_of(lab, b.silenced(seen, "paris-2"))
    assert touched(hidden) == set()
    assert "it may run there" in about(hidden, SQL)


def test_of_two_copies_that_are_off_the_one_not_migrated_is_right(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.off("sql", "paris-1", lab, reason="migrated"))
    seen = b.with_domain(seen, "paris-2", "sql", b.off("sql", "paris-2", lab, reason="crashed"))
    plan = plan_of(lab, seen)
    assert [step.action.id for step in plan.steps] == ["start:VirtualMachine/sql@paris-2"]


def test_of_two_copies_that_are_off_a_person_decides(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.off("sql", "paris-1", lab))
    seen = b.with_domain(seen, "paris-2", "sql", b.off("sql", "paris-2", lab))
    plan = plan_of(lab, seen)
    assert touched(plan) == set()
    assert "undefine the other by hand" in about(plan, SQL)


def test_silence_does_not_decide_which_of_two_copies_is_right(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.off("sql", "paris-1", lab))
    seen = b.with_domain(seen, "paris-2", "sql", b.off("sql", "paris-2", lab))
    plan = plan_of(lab, b.silenced(seen, "paris-1"))
    assert touched(plan) == set()
    assert "paris-1 has not answered for 3m10s and was last seen with a copy" in about(plan, SQL)


def test_a_paused_vm_that_may_run_on_a_silent_host_stays_paused(lab: Any) -> None:
    paused = b.domain("sql", "paris-2", lab, state=DomainState.PAUSED, state_reason="user")
    seen = b.with_domain(b.silenced(b.as_declared(lab, HOME), "paris-1"), "paris-2", "sql", paused)
    plan = plan_of(lab, seen)
    assert touched(plan) == set()
    assert "sql stays paused: " in about(plan, SQL)
    bad = Plan("r1", (Step(ResumeDomain(target=SQL, node="paris-2", domain="sql", reason="x")),))
    with pytest.raises(AssertionError, match="never two running copies"):
        assert_lawful(bad, seen)


@pytest.mark.parametrize("changes", [
    {"ownership": None, "uuid": "6b7c5d1e-0000-4000-8000-000000000001"},
    {"ownership": Ownership("other", "keep")}])
def test_somebody_elses_domain_of_the_same_name_is_not_undefined(
        lab: Any, changes: dict[str, Any]) -> None:
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-2", "sql",
                         b.off("sql", "paris-2", lab, **changes))
    plan = plan_of(lab, seen)
    assert touched(plan) == set()
    assert "another domain of the name sql" in about(plan, SQL)


def test_a_vm_defined_nowhere_with_files_on_two_hosts_is_for_a_person(lab: Any) -> None:
    seen = b.as_declared(lab, HOME)
    seen = b.with_domain(seen, "paris-2", "sql", b.domain("sql", "paris-2", lab))
    both = b.observed_of(lab, {
        "paris-1": {"sql": b.off("sql", "paris-1", lab)},
        "paris-2": {"sql": b.off("sql", "paris-2", lab)},
        "milan-1": {"web": b.domain("web", "milan-1", lab)}})
    for host in ("paris-1", "paris-2"):
        both = b.with_domain(both, host, "sql", None)
    plan = plan_of(lab, both)
    assert touched(plan) == set()
    assert "files of its disks lie on paris-1 and paris-2" in about(plan, SQL)


def test_a_start_beside_a_running_copy_is_unlawful(lab: Any) -> None:
    bad = Plan("r1", (Step(StartDomain(target=SQL, node="paris-2", domain="sql", reason="x")),))
    with pytest.raises(AssertionError, match="never two running copies: .*running on paris-1"):
        assert_lawful(bad, b.as_declared(lab, HOME))
    with pytest.raises(AssertionError, match="as far as paris-1 could be seen"):
        assert_lawful(bad, b.silenced(b.as_declared(lab, HOME), "paris-1"))


def test_starts_of_one_vm_in_two_places_are_unlawful(lab: Any) -> None:
    steps = tuple(Step(StartDomain(target=SQL, node=node, domain="sql", reason="x"))
                  for node in ("paris-1", "paris-2"))
    with pytest.raises(AssertionError, match="begun on paris-1 and on paris-2"):
        assert_lawful(Plan("r1", steps), b.as_declared(lab, {"web": "milan-1"}))


def test_a_definition_beside_a_running_copy_is_unlawful(lab: Any) -> None:
    seen = b.as_declared(lab, HOME)
    moved = desired_domain(lab.virtual_machines["sql"], lab.hosts["paris-2"], None,
                       take_survey(lab, seen, b.APPLIED, b.NOW_S))
    bad = Plan("r1", (Step(DefineDomain(target=SQL, node="paris-2", desired=moved, reason="x")),))
    with pytest.raises(AssertionError, match="never two running copies"):
        assert_lawful(bad, seen)


def test_to_define_what_runs_here_begins_no_copy_whatever_a_silent_host_last_said(
        lab: Any) -> None:
    seen = b.silenced(b.as_declared(lab, HOME), "paris-1")
    seen = b.with_domain(seen, "paris-2", "sql", b.domain(
        "sql", "paris-2", lab, persistent=False, config=None))
    plan = plan_of(lab, seen)
    assert [step.action.id for step in plan.steps] == ["define:VirtualMachine/sql@paris-2"]
    assert "was last seen with it, too" in about(plan, SQL)


# Removal from the specs never deletes data by itself.

@pytest.mark.parametrize(("deletion", "ceiling", "verdict"), [
    ("keep", 9, None), ("delete", 0, Verdict.REFUSED), ("delete", 1, Verdict.ALLOWED)])
def test_what_is_no_longer_declared_stays_unless_its_last_spec_and_the_ceiling_say_so(
        deletion: str, ceiling: int, verdict: Verdict | None) -> None:
    old = b.small(b.vm("sql", deletion=deletion))
    seen = b.as_declared(old, {"sql": "paris-1"})
    waited = replace(b.APPLIED, waiting={f"remove:{SQL}@paris-1": b.NOW_S - 600})
    plan = compute(b.small(limits={"deletes": ceiling}), seen, waited, b.NOW_S)
    assert [step.ruling.verdict for step in plan.steps] == ([verdict] if verdict else [])
    if verdict is None:
        assert "no longer declared; it is left alone" in about(plan, SQL)
    else:
        assert plan.steps[0].action.disk_paths == ("/var/lib/libvirt/images/sql-vda.qcow2",)
    if verdict is Verdict.REFUSED:
        assert plan.steps[0].ruling.rule == "delete-ceiling"


def test_deletions_on_hosts_that_do_not_answer_count_towards_the_ceiling() -> None:
    old = b.small(b.vm("sql", deletion="delete"), b.vm("web", deletion="delete"))
    seen = b.silenced(b.as_declared(old, HOME), "milan-1")
    plan = plan_of(b.small(limits={"deletes": 1}), seen)
    assert [(step.action.target, step.ruling.rule) for step in plan.steps] == [
        (SQL, "delete-ceiling")]
    assert "1 of them where no host answers" in plan.steps[0].ruling.sentence


def test_what_may_also_be_on_a_silent_host_is_not_deleted() -> None:
    old = b.small(b.vm("sql", deletion="delete"))
    seen = b.with_domain(b.as_declared(old, {"sql": "paris-1"}), "paris-2", "sql",
                         b.off("sql", "paris-2", old))
    plan = plan_of(b.small(limits={"deletes": 9}), b.silenced(seen, "paris-1"))
    assert plan.steps == ()


def test_a_disk_in_a_shared_pool_that_another_host_uses_is_never_deleted_along() -> None:
    old = b.desired_of(b.estate(), *b.survey(pools=[{"name": "default", "shared": True,
                                                     "path": "/var/lib/libvirt/images"}]),
                       b.vm("sql", deletion="delete"), b.vm("web"))
    new = replace(old, virtual_machines={"web": old.virtual_machines["web"]},
                  estate=b.estate(limits={"deletes": 1}))
    config = b.config_of("web", "milan-1", old)
    wide = replace(config, disks=(*config.disks, *(replace(disk, target="vdb") for disk in
                                                   b.config_of("sql", "paris-1", old).disks)))
    alone = b.as_declared(old, HOME)
    used = b.with_domain(alone, "milan-1", "web",
                         b.domain("web", "milan-1", old, live=wide, config=wide))

    def deleted(seen: Any) -> tuple[str, ...]:
        return next(step.action.disk_paths for step in plan_of(new, seen).steps
                    if isinstance(step.action, RemoveDomain))

    assert deleted(alone) == ("/var/lib/libvirt/images/sql-vda.qcow2",)
    assert deleted(used) == ()
    assert deleted(b.silenced(used, "milan-1")) == ()
    assert deleted(b.never_seen(alone, "milan-1")) == ()


def test_disks_of_others_are_never_deleted_along() -> None:
    old = b.small(b.vm("sql", deletion="delete"), b.vm("web"))
    config = b.config_of("sql", "paris-1", old)
    shared = replace(config.disks[0], target="vdb",
                     source="/var/lib/libvirt/images/web-vda.qcow2")
    outside = replace(config.disks[0], target="vdc", source="/srv/iso/base.qcow2")
    wide = replace(config, disks=(*config.disks, shared, outside))
    seen = b.with_domain(b.as_declared(old, {"sql": "paris-1", "web": "paris-1"}), "paris-1",
                         "sql", b.domain("sql", "paris-1", old, live=wide, config=wide))
    plan = plan_of(b.small(b.vm("web"), limits={"deletes": 1}), seen)
    assert plan.steps[0].action.disk_paths == ("/var/lib/libvirt/images/sql-vda.qcow2",)


def test_domains_of_another_estate_are_not_ours() -> None:
    old = b.small(b.vm("sql", deletion="delete"))
    seen = b.as_declared(old, {"sql": "paris-1"})
    foreign = b.domain("sql", "paris-1", old, ownership=None)
    plan = plan_of(b.small(limits={"deletes": 1}), b.with_domain(seen, "paris-1", "sql", foreign))
    assert (plan.steps, plan.remarks) == ((), ())


# Every decision carries a sentence.

def test_every_step_and_refusal_says_why(lab: Any) -> None:
    seen = b.with_domain(b.as_declared(lab, HOME), "paris-1", "sql",
                         b.off("sql", "paris-1", lab))
    strict = replace(lab, estate=b.estate(autonomy="report"))
    for step in plan_of(strict, seen).steps:
        assert len(step.action.reason) > 10
        assert step.ruling.sentence == "start is beyond report, which Estate/lab grants"
        assert step.ruling.clears == f"hotsite approve {step.action.id}"


def test_unknown_hardware_makes_a_host_no_destination() -> None:
    desired = b.small(b.vm("new", placement={"site": "paris"}))
    seen = b.as_declared(desired, {})
    for host in ("paris-1", "paris-2"):
        fact = seen.nodes[host]
        assert isinstance(fact, Known)
        seen = b.with_node(seen, host, Known(
            replace(fact.value, hardware=Unknown("no answer", b.NOW_S)), b.NOW_S))
    plan = plan_of(desired, seen)
    assert plan.steps == ()
    assert "no host of paris takes machines now" in about(plan, "VirtualMachine/new")
