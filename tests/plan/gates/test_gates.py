"""The gates: each with its number, its message and what clears it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.model.document import Rung
from controller.model.facts import DomainState, Known, PortFacts
from controller.model.units import parse_instant_at, render_instant
from controller.plan.actions.action import Cause
from controller.plan.actions.machine import StartDomain
from controller.plan.compute import compute
from controller.plan.gates.approval import content
from controller.plan.steps.plan import Plan, Ruling, Step, Verdict
from controller.plan.survey.context import (
    Approval,
    Context,
    InFlight,
    Suspension,
    Undone,
    WindowState,
)
from tests.plan import builders as b
from tests.plan import replicas as r

START = "start:VirtualMachine/sql@paris-1"
START_ACTION = StartDomain(target="VirtualMachine/sql", node="paris-1", reason="", domain="sql",
                           uuid=b.domain_uuid("lab", "sql"))


def off_on_paris(desired: Any, *names: str, hosts: int = 2) -> Any:
    """Everything as declared, but these VMs are off on paris-1."""
    seen = b.as_declared(desired, dict.fromkeys(desired.virtual_machines, "paris-1"))
    for name in names:
        seen = b.with_domain(seen, "paris-1", name, b.off(name, "paris-1", desired))
    return seen


def ruling(policy: Context = b.APPLIED, *more: Any, vm: dict[str, Any] | None = None,
           **estate: Any) -> Ruling:
    desired = b.small(b.vm("sql", **(vm or {})), *more, **estate)
    plan = compute(desired, off_on_paris(desired, "sql"), policy, b.NOW_S)
    return next(step.ruling for step in plan.steps if step.action.id == START)


def test_no_disk_is_made_before_every_pool_that_may_hold_it_can_be_seen() -> None:
    desired = b.small(b.vm("sql", placement={"site": "milan"}))
    seen = b.as_declared(desired, {})
    fact = seen.nodes["paris-1"]
    assert isinstance(fact, Known)
    bare = b.with_node(seen, "paris-1", Known(
        replace(fact.value, pools=Known({}, b.NOW_S)), b.NOW_S))
    rulings = {step.action.verb: step.ruling for step in
               compute(desired, bare, b.APPLIED, b.NOW_S).steps}
    assert rulings["create-pool"].verdict is Verdict.ALLOWED
    assert rulings["create-disk"].verdict is Verdict.WAITING
    assert "pool default is first made on paris-1" in rulings["create-disk"].sentence
    whole = compute(desired, seen, b.APPLIED, b.NOW_S).steps
    assert {step.ruling.verdict for step in whole} == {Verdict.ALLOWED}


def test_what_the_gates_let_pass_is_allowed() -> None:
    assert ruling().verdict is Verdict.ALLOWED


def test_beyond_the_granted_rung_a_person_is_asked() -> None:
    asked = ruling(autonomy="network")
    assert asked.verdict is Verdict.NEEDS_APPROVAL
    assert asked.clears == f"hotsite approve {START}"


@pytest.mark.parametrize(("revision", "expires_at", "verdict"), [
    ("r1", b.NOW_S + 1, Verdict.ALLOWED), ("r0", b.NOW_S + 1, Verdict.NEEDS_APPROVAL),
    ("r1", b.NOW_S, Verdict.NEEDS_APPROVAL)])
def test_an_approval_holds_for_one_revision_and_until_it_ends(
        revision: str, expires_at: float, verdict: Verdict) -> None:
    yes = Approval(START, revision, "ada", expires_at, content(START_ACTION))
    assert ruling(replace(b.APPLIED, approvals=(yes,)), autonomy="report").verdict is verdict


def test_an_approval_holds_for_what_was_approved_whatever_is_said_about_it() -> None:
    said = replace(START_ACTION, reason="because", consequence="none", cause=Cause.HUMAN)
    other = replace(START_ACTION, domain="sql-2")
    assert said.id == other.id == START
    for action, verdict in ((said, Verdict.ALLOWED), (other, Verdict.NEEDS_APPROVAL)):
        yes = Approval(START, "r1", "ada", b.NOW_S + 1, content(action))
        assert ruling(replace(b.APPLIED, approvals=(yes,)),
                      autonomy="report").verdict is verdict


def test_the_nearest_scope_wins() -> None:
    assert ruling(vm={"autonomy": "report"}).sentence \
        == "start is beyond report, which VirtualMachine/sql grants"
    assert ruling(vm={"autonomy": "start"}, autonomy="report").verdict is Verdict.ALLOWED


@pytest.mark.parametrize("target", ["VirtualMachine/sql", "Host/paris-1", "Site/paris",
                                    "Estate/lab"])
def test_a_suspended_scope_refuses_with_who_until_when_and_why(target: str) -> None:
    pause = Suspension(target, "ada", "moving racks", b.NOW_S + 60)
    no = ruling(replace(b.APPLIED, suspensions=(pause,)))
    assert no.verdict is Verdict.REFUSED
    assert no.sentence == (f"{target} is suspended by ada until 1970-01-12 13:47:40 UTC:"
                           " moving racks")
    assert no.clears == f"hotsite resume {target}"


def test_a_suspension_ends_by_itself_and_others_are_not_held() -> None:
    for target, until_at in (("VirtualMachine/sql", b.NOW_S), ("Host/paris-2", b.NOW_S + 9),
                             ("Site/milan", b.NOW_S + 9)):
        pause = Suspension(target, "ada", "why", until_at)
        assert ruling(replace(b.APPLIED, suspensions=(pause,))).verdict is Verdict.ALLOWED


def test_a_suspension_in_the_specs_holds() -> None:
    no = ruling(vm={"suspend": {"until": "2030-01-01T00:00:00Z", "by": "bo", "why": "tests"}})
    assert no.sentence == ("VirtualMachine/sql is suspended by bo until 2030-01-01 00:00:00 UTC:"
                           " tests")


def test_old_facts_decide_nothing() -> None:
    desired = b.small(b.vm("sql"))
    seen = b.observed_of(desired, {"paris-1": {"sql": b.off("sql", "paris-1", desired)}},
                         observed_at=b.NOW_S - 31)
    plan = compute(desired, seen, b.APPLIED, b.NOW_S)
    assert [step.ruling.rule for step in plan.steps] == ["fact-age"]
    assert plan.steps[0].ruling.sentence == ("what is known of paris-1 is 31s old and 30s is the"
                                             " limit")


def stormy(silent: int, hosts: int = 6) -> Plan:
    desired = b.small(b.vm("sql"), hosts_per_site=hosts)
    seen = off_on_paris(desired, "sql")
    for number in range(2, 2 + silent):
        seen = b.silenced(seen, f"paris-{number}")
    return compute(desired, seen, b.APPLIED, b.NOW_S)


def test_a_storm_stops_healing_above_the_network() -> None:
    assert stormy(1).steps[0].ruling.verdict is Verdict.ALLOWED
    no = stormy(2).steps[0].ruling
    assert (no.verdict, no.rule) == (Verdict.REFUSED, "storm")
    assert "2 of the 6 hosts of paris do not answer (33%, the limit is 20%)" in no.sentence


def test_one_silent_host_of_two_is_no_storm() -> None:
    desired = b.small(b.vm("sql"))
    plan = compute(desired, b.silenced(off_on_paris(desired, "sql"), "paris-2"), b.APPLIED,
                   b.NOW_S)
    assert [step.ruling.verdict for step in plan.steps] == [Verdict.ALLOWED]


@pytest.mark.parametrize(("repairs", "rule"), [
    ((-500, -400, -300, -200, -100), "quarantine"),
    ((-400, -300, -200, -100), ""),
    ((-2500, -2400, -2300, -2200, -2100), ""),
    ((-1000, -800, -600, -400, -200), ""),
])
def test_what_does_not_stay_well_is_left_alone(repairs: tuple[float, ...], rule: str) -> None:
    at = tuple(b.NOW_S + one for one in repairs)
    policy = replace(b.APPLIED, repairs={"VirtualMachine/sql": at})
    assert ruling(policy).rule == rule
    assert ruling(replace(policy, changed=frozenset({"VirtualMachine/sql"}))).rule == ""


@pytest.mark.parametrize(("windows", "refused"), [
    ([("deny", True)], True), ([("deny", False)], False),
    ([("allow", False)], True), ([("allow", True)], False),
    ([("allow", True), ("deny", True)], True), ([("allow", False), ("allow", True)], False),
])
def test_windows_and_deny_wins(windows: list[tuple[str, bool]], refused: bool) -> None:
    states = tuple(WindowState(f"w{i}", effect, is_open, Rung.START, b.NOW_S + 60)
                   for i, (effect, is_open) in enumerate(windows))
    yes = Approval(START, "r1", "ada", b.NOW_S + 60, content(START_ACTION))
    answer = ruling(replace(b.APPLIED, windows=states, approvals=(yes,)))
    assert (answer.rule == "window") is refused
    assert (answer.clears == "at 1970-01-12 13:47:40 UTC") is refused


def test_a_window_says_nothing_about_lower_rungs() -> None:
    closed = WindowState("night", "allow", False, Rung.MIGRATE, None)
    assert ruling(replace(b.APPLIED, windows=(closed,))).verdict is Verdict.ALLOWED


def many(count: int, flights: tuple[InFlight, ...] = (), **limits: Any) -> list[Ruling]:
    names = [f"vm-{number}" for number in range(count)]
    desired = b.small(*(b.vm(name, memory="1GiB") for name in names), limits=limits)
    plan = compute(desired, off_on_paris(desired, *names),
                   replace(b.APPLIED, in_flight=flights), b.NOW_S)
    return [step.ruling for step in plan.steps]


def test_only_so_much_happens_at_once_on_a_host_and_at_a_site() -> None:
    rulings = many(5, perHost=2)
    assert [one.verdict for one in rulings].count(Verdict.ALLOWED) == 2
    assert rulings[-1].sentence == ("2 things going on at host paris-1, and 2 is the limit")
    assert [one.verdict for one in many(5, perHost=9, perSite=3)].count(Verdict.ALLOWED) == 3


def test_what_runs_already_takes_a_place() -> None:
    flight = InFlight("x", "VirtualMachine/other", ("paris-1",), Rung.START)
    assert [one.verdict for one in many(5, (flight,), perHost=2)].count(Verdict.ALLOWED) == 1


def test_a_target_with_a_running_action_waits() -> None:
    flight = InFlight(START, "VirtualMachine/sql", ("paris-1",), Rung.START)
    waits = ruling(replace(b.APPLIED, in_flight=(flight,)))
    assert (waits.verdict, waits.rule) == (Verdict.WAITING, "in-flight")


def test_only_a_share_of_the_vms_moves_at_once_and_never_less_than_one() -> None:
    names = [f"vm-{number}" for number in range(20)]
    desired = b.small(*(b.vm(name, placement={"host": "paris-2"}) for name in names),
                      limits={"perHost": 99, "perSite": 99, "share": "10%"})
    plan = compute(desired, b.as_declared(desired, dict.fromkeys(names, "paris-1")), b.APPLIED,
                   b.NOW_S)
    verdicts = [step.ruling.verdict for step in plan.steps]
    assert verdicts.count(Verdict.ALLOWED) == 2
    assert "2 of 20 is the limit (10%)" in plan.steps[-1].ruling.sentence


def test_what_comes_after_a_refusal_waits_for_it() -> None:
    desired = b.small(b.vm("sql", placement={"host": "milan-1"}), autonomy="start")
    pause = Suspension("Host/paris-1", "ada", "why", b.NOW_S + 60)
    plan = compute(desired, off_on_paris(desired, "sql"),
                   replace(b.APPLIED, suspensions=(pause,)), b.NOW_S)
    assert [step.ruling.rule for step in plan.steps] == ["suspended", "suspended"]
    loose = b.small(b.vm("new", placement={"host": "milan-1"},
                         disks=[{"name": "vda", "size": "1GiB"}]))
    yes = replace(b.APPLIED, windows=(WindowState("w", "deny", True, Rung.START, None),))
    plan = compute(loose, b.as_declared(loose, {}), yes, b.NOW_S)
    assert {step.ruling.rule for step in plan.steps} == {"window"}


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2400, 1, 1)))  # noqa: DTZ001
def test_instants_agree_with_the_calendar(moment: datetime) -> None:
    at = moment.replace(tzinfo=UTC, microsecond=0)
    assert parse_instant_at(at.strftime("%Y-%m-%dT%H:%M:%SZ")) == at.timestamp()
    assert render_instant(at.timestamp()) == at.strftime("%Y-%m-%d %H:%M:%S UTC")


def test_instants_know_their_zone() -> None:
    assert parse_instant_at("2026-11-23T06:00:00+02:00") == parse_instant_at("2026-11-23T04:00Z")
    with pytest.raises(ValueError, match="write it like 2026-11-23T06:00:00Z"):
        parse_instant_at("tomorrow")


OLD_S, DARK_S = 31.0, 3 * 86400.0


def silent(observed: Any, host: str, how: str) -> Any:
    """The same, with a host that answered just too long ago, or has not answered for days."""
    if how == "dark":
        return b.silenced(observed, host, DARK_S)
    return b.with_node(observed, host, Known(observed.nodes[host].value, b.NOW_S - OLD_S))


def verdicts(desired: Any, seen: Any) -> dict[str, Verdict]:
    return {f"{step.action.verb} {step.action.target.partition('/')[2]}": step.ruling.verdict
            for step in compute(desired, seen, b.APPLIED, b.NOW_S).steps}


@pytest.mark.parametrize("how", ["old", "dark"])
def test_what_exists_starts_while_others_are_silent_unless_one_was_last_seen_with_it_running(
        how: str) -> None:
    desired = b.small(b.vm("sql"), b.vm("paused"))
    seen = b.with_domain(b.as_declared(desired, dict.fromkeys(["sql", "paused"], "paris-1")),
                         "paris-1", "sql", b.off("sql", "paris-1", desired, "crashed"))
    seen = b.with_domain(seen, "paris-1", "paused", b.domain(
        "paused", "paris-1", desired, state=DomainState.PAUSED, state_reason="user"))
    assert verdicts(desired, silent(seen, "milan-2", how)) == {
        "start sql": Verdict.ALLOWED, "resume paused": Verdict.ALLOWED}
    for name in ("sql", "paused"):
        there = b.with_domain(seen, "milan-2", name, b.domain(name, "milan-2", desired))
        assert not [one for one, verdict in verdicts(
            desired, silent(there, "milan-2", how)).items()
            if one.endswith(name) and verdict is Verdict.ALLOWED]


@pytest.mark.parametrize("how", ["old", "dark"])
def test_what_exists_nowhere_is_made_only_once_every_host_has_answered_lately(how: str) -> None:
    desired = b.small(b.vm("new", placement={"host": "paris-1"}))
    seen = b.as_declared(desired, {})
    assert set(verdicts(desired, seen).values()) == {Verdict.ALLOWED}
    rulings = verdicts(desired, silent(seen, "milan-2", how))
    assert {rulings.get(one) for one in ("create-disk new", "define new")} <= {
        None, Verdict.WAITING}


def test_of_what_is_made_it_is_said_whose_answer_is_too_old() -> None:
    desired = b.small(b.vm("new", placement={"host": "paris-1"}))
    plan = compute(desired, silent(b.as_declared(desired, {}), "milan-2", "old"), b.APPLIED,
                   b.NOW_S)
    answer = plan.steps[0].ruling
    assert (answer.rule, answer.clears) == ("fact-age", "when milan-2 answers")
    assert answer.sentence == ("what is known of milan-2 is 31s old and 30s is the limit: new may"
                               " be there by now")


def test_facts_that_are_dated_ahead_of_now_decide_nothing() -> None:
    desired = b.small(b.vm("sql"))
    seen = b.with_domain(b.as_declared(desired, {"sql": "paris-1"}), "paris-1", "sql",
                         b.off("sql", "paris-1", desired))
    for ahead_s, verdict in ((2.0, Verdict.ALLOWED), (3600.0, Verdict.REFUSED)):
        fact = seen.nodes["paris-1"]
        assert isinstance(fact, Known)
        later = b.with_node(seen, "paris-1", Known(fact.value, b.NOW_S + ahead_s))
        (step,) = compute(desired, later, b.APPLIED, b.NOW_S).steps
        assert step.ruling.verdict is verdict
        if verdict is Verdict.REFUSED:
            assert "dated 1h00m ahead of now" in step.ruling.sentence


@pytest.mark.parametrize("how", ["old", "dark"])
def test_hosts_that_are_silent_in_either_way_make_a_storm(how: str) -> None:
    desired = b.small(b.vm("sql"), hosts_per_site=6)
    seen = off_on_paris(desired, "sql")
    for host in ("paris-2", "paris-3"):
        seen = silent(seen, host, how)
    (step,) = compute(desired, seen, b.APPLIED, b.NOW_S).steps
    assert step.ruling.rule == "storm"


def test_what_begins_no_copy_waits_for_no_other_host() -> None:
    desired = b.small(b.vm("sql", memory="1GiB", autostart="off"))
    seen = b.with_domain(b.as_declared(desired, {"sql": "paris-1"}), "paris-1", "sql",
                         b.domain("sql", "paris-1", desired, autostart=True))
    old = b.node("milan-2", desired, observed_at=b.NOW_S - 31)
    plan = compute(desired, b.with_node(seen, "milan-2", old), b.APPLIED, b.NOW_S)
    assert [step.ruling.verdict for step in plan.steps] == [Verdict.ALLOWED]


WIDEN = "widen-trunk:Host/paris-1@paris-1/up0"


def undone(**changes: Any) -> Context:
    """The context in which the node undid the widening of its uplink."""
    spare = {"action_id": WIDEN, "target": "Host/paris-1", "goal": "br0 (100, 200)",
             "sentence": "it could not be reached", "at": b.NOW_S - 60} | changes
    return replace(b.APPLIED, undone=(Undone(**spare),))


def widening(policy: Context) -> Step:
    """The widening of paris-1's uplink, as it is judged."""
    lab = b.small()
    port = PortFacts("up0", None, (100,), "trunk", True)
    plan = compute(lab, b.with_port(b.as_declared(lab, {}), "paris-1", port, "up0"), policy,
                   b.NOW_S)
    [step] = plan.steps
    assert ("Host/paris-1" in {one.target for one in plan.waits}) == (
        step.ruling.rule == "undone")
    return step


def test_what_the_node_undid_is_not_done_again_without_a_commit_or_a_person() -> None:
    step = widening(undone())
    assert (step.ruling.verdict, step.ruling.rule) == (Verdict.NEEDS_APPROVAL, "undone")
    assert "paris-1 undid it by itself (it could not be reached)" in step.ruling.sentence
    assert step.ruling.clears == f"hotsite approve {WIDEN}, or hotsite resume Host/paris-1"
    yes = Approval(WIDEN, "r1", "ann", b.NOW_S + 60, content(step.action))
    assert widening(replace(undone(), approvals=(yes,))).ruling.verdict is Verdict.ALLOWED


@pytest.mark.parametrize("other", [{"goal": "br0 (100, 300)"}, {"action_id": "add-uplink:x"}])
def test_another_goal_is_another_try(other: dict[str, str]) -> None:
    assert widening(undone(**other)).ruling.verdict is Verdict.ALLOWED


@pytest.mark.parametrize("state", ["off", "running"])
def test_nothing_is_started_or_copied_from_under_an_unmounted_file_system(state: str) -> None:
    desired = b.small(b.vm("sql", protection="gold"))
    seen = r.asked(b.as_declared(desired, {"sql": "paris-1"}), desired)
    if state == "off":
        seen = b.with_domain(seen, "paris-1", "sql", b.off("sql", "paris-1", desired))
    fact = seen.nodes["paris-1"]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.pools, Known)
    pools = {name: replace(pool, unknown="nothing is mounted there", expected="xfs 1")
             for name, pool in fact.value.pools.value.items()}
    seen = b.with_node(seen, "paris-1", replace(fact, value=replace(
        fact.value, pools=Known(pools, b.NOW_S))))
    rules = {step.action.verb: step.ruling.rule for step in compute(
        desired, seen, b.APPLIED, b.NOW_S).steps}
    assert rules.pop("accept-pool") == "pool"
    assert set(rules.values()) == ({"unread"} if state == "off" else {""})
    assert set(rules) == ({"start", "replicate"} if state == "off" else {"replicate"})
