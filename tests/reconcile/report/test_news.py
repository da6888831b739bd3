"""Which conditions count as well, and which changes are worth a line in the log."""

import pytest

from controller.model.condition import Condition, ConditionType, Status
from controller.plan.steps.plan import FailoverState, Plan
from controller.reconcile.report.news import News, is_well


@pytest.mark.parametrize(("kind", "status", "reason", "well"), [
    (ConditionType.READY, Status.TRUE, "AsDeclared", True),
    (ConditionType.READY, Status.UNKNOWN, "Silent", False),
    (ConditionType.CONNECTED, Status.TRUE, "AllMembersUp", True),
    (ConditionType.CONNECTED, Status.TRUE, "Degraded", False),
    (ConditionType.STALLED, Status.TRUE, "TwoRunningCopies", False),
])
def test_what_holds_but_is_degraded_is_not_well(
        kind: ConditionType, status: Status, reason: str, well: bool) -> None:
    assert is_well(Condition("InterSiteLink/metro", kind, status, reason, "", "r1")) is well


@pytest.mark.parametrize("kind", ConditionType)
def test_a_condition_that_names_a_fault_is_well_when_it_is_false(kind: ConditionType) -> None:
    fault = kind in {"SplitBrain", "Suspended", "Stalled", "ControllerInside", "NotPortable",
                     "BreakGlass"}
    for status in (Status.TRUE, Status.FALSE):
        assert is_well(Condition("VirtualMachine/sql", kind, status, "Why", "", "r1")) is (
            (status is Status.FALSE) is fault)


def fresh(status: Status, reason: str) -> Condition:
    return Condition("VirtualMachine/sql", ConditionType.FRESH, status, reason, reason, "r1")


LATE, WELL = fresh(Status.FALSE, "Late"), fresh(Status.TRUE, "WithinRpo")


def test_a_copy_that_is_late_and_there_within_the_margin_says_nothing() -> None:
    now = [0.0]
    news = News(lambda: now[0], lambda _: 6.0)
    for _ in range(5):      # as it was: late, fresh, late, fresh, each minute
        assert news.of_condition(LATE) is None
        now[0] += 5
        assert news.still_late() == ()
        assert news.of_condition(WELL) is None
        now[0] += 55
    assert news.next_due() is None


def test_one_that_stays_late_is_told_once_and_so_is_its_return() -> None:
    now = [0.0]
    news = News(lambda: now[0], lambda _: 6.0)
    assert news.of_condition(LATE) is None
    assert news.next_due() == 6.0
    now[0] = 6.0
    assert [one.target for one in news.still_late()] == ["VirtualMachine/sql"]
    assert news.still_late() == ()
    assert news.of_condition(fresh(Status.FALSE, "Warning")) is not None
    assert news.of_condition(WELL) is not None


def test_what_is_worse_than_late_is_told_at_once() -> None:
    news = News(lambda: 0.0, lambda _: 6.0)
    assert news.of_condition(LATE) is None
    assert news.of_condition(fresh(Status.FALSE, "Critical")) is not None
    assert news.still_late() == ()


def with_failovers(*scopes: str) -> Plan:
    """A plan in which these are suspected."""
    return Plan(revision="r1", steps=(), remarks=(), failovers=tuple(
        FailoverState(scope, "suspected", f"{scope} is silent") for scope in scopes))


def test_a_host_whose_whole_site_is_silent_is_not_called_calm() -> None:
    news = News(lambda: 0.0)
    news.of_plan(with_failovers("Host/paris-1"))
    found = {event.target: event.sentence
             for event in news.of_plan(with_failovers("Site/paris"))}
    assert found["Host/paris-1"] == "it is looked at as a part of Site/paris from now on"
    assert {event.target: event.sentence for event in news.of_plan(with_failovers())} == {
        "Site/paris": "calm: nothing of it is under way any more"}
