"""What guards and grantors say for a failover."""

from dataclasses import replace
from typing import Any

import pytest

from controller.failover.situation import Grant
from controller.model.facts import Observed
from controller.model.failover.guard import Revocation
from controller.plan.guarding.grants import (
    grants_of,
    has_watchdog,
    is_guarded,
    view_of,
)
from controller.plan.survey.survey import Survey, take_survey
from tests.plan import builders as b
from tests.plan.guarded import guarded, refusing, seen, with_grantor, with_guard

LAB = guarded(b.vm("sql", protection="cut", placement={"site": "paris"}))
GOOD = seen(LAB, {"sql": "paris-1"})
LOST = b.silenced(GOOD, "paris-1")


def survey(observed: Observed) -> Survey:
    """Return the survey of what is seen."""
    return take_survey(LAB, observed, b.APPLIED, b.NOW_S)


def test_a_host_that_fell_silent_guarded_is_guarded() -> None:
    assert is_guarded("paris-1", survey(GOOD))
    assert is_guarded("paris-1", survey(LOST))


@pytest.mark.parametrize("changed", [
    {"running": False}, {"granted": False}, {"deadline_s": 31.0}, {"kill_s": 4.0},
    {"feed_s": 2.0}, {"watchdog_s": 9.0}, {"held": ()}, {"stubborn": 1}])
def test_a_guard_that_promises_less_than_is_counted_on_is_none(changed: dict[str, Any]) -> None:
    assert not is_guarded("paris-1", survey(b.silenced(with_guard(
        GOOD, "paris-1", **changed), "paris-1")))


def test_a_host_that_was_never_seen_or_is_disarmed_is_not_guarded() -> None:
    assert not is_guarded("paris-1", survey(b.never_seen(GOOD, "paris-1")))
    assert not is_guarded("paris-1", survey(with_grantor(LOST, "hq", disarmed=("paris-1",))))


def test_a_watchdog_counts_if_it_resets_the_host_in_time() -> None:
    fed = {"fed": True, "watchdog_s": 8.0, "watchdog_timeout_s": 8.0}
    for kind, counts in (("hardware", True), ("software", False), ("missing", False)):
        assert has_watchdog("paris-1", survey(with_guard(
            GOOD, "paris-1", watchdog=kind, **fed))) is counts
    assert not has_watchdog("paris-1", survey(with_guard(
        GOOD, "paris-1", watchdog="hardware", **{**fed, "watchdog_timeout_s": 30.0})))
    assert not has_watchdog("paris-1", survey(with_guard(
        GOOD, "paris-1", watchdog="hardware", **{**fed, "fed": False})))


def test_every_grantor_has_its_say_and_a_silent_one_has_no_age() -> None:
    found = b.silenced(refusing(LOST, "hq", "paris-1"), "milan-2")
    found = with_grantor(found, "milan-1", hears=(), silent={"paris-1": 12.0})
    assert grants_of("paris-1", survey(found)) == (
        Grant(grantor="hq", age_s=3.0, revoked=7, revoked_once=7),
        Grant(grantor="milan-1", age_s=12.0), Grant(grantor="milan-2", age_s=None))


def test_a_grantor_that_left_the_specs_and_is_still_asked_is_not_forgotten() -> None:
    asked = with_guard(GOOD, "paris-1", grantors=("hq", "milan-1", "milan-2", "old-witness"))
    assert Grant(grantor="old-witness", age_s=None) in grants_of("paris-1", survey(asked))


def test_no_time_is_added_to_what_a_grantor_said() -> None:
    later = replace(survey(refusing(LOST, "hq", "paris-1")), now_s=b.NOW_S + 20)
    assert grants_of("paris-1", later)[0].age_s == 3.0


def test_what_a_grantor_said_too_long_ago_is_as_good_as_nothing() -> None:
    old = take_survey(LAB, refusing(LOST, "hq", "paris-1"), b.APPLIED, b.NOW_S + 100)
    assert grants_of("paris-1", old)[0] == Grant(grantor="hq", age_s=None)


def test_a_witness_hears_who_asks_it_and_knows_nothing_of_the_others() -> None:
    strange = with_guard(GOOD, "milan-2", running=False)
    heard = with_grantor(strange, "hq", hears=("paris-2",), silent={"paris-1": 40.0},
                         listening_s=500.0)
    view = view_of("hq", survey(heard))
    assert (view.place, view.age_s, view.listening_s) == ("hq", 0.0, 500.0)
    assert view.heard_s == {"paris-2": 0.0, "paris-1": 40.0}
    assert view.deaf_to == {"milan-2"}      # milan-1 asks it, and was not heard


def test_a_witness_whose_grantor_does_not_run_has_heard_nobody() -> None:
    view = view_of("hq", survey(with_grantor(GOOD, "hq", running=False)))
    assert (view.heard_s, view.listening_s) == ({}, 0.0)
    assert view_of("hq", survey(b.silenced(GOOD, "hq"))).age_s is None


def test_a_restarted_grantor_says_since_its_start() -> None:
    revoked = {"paris-1": Revocation(7, 1, "ann", "why", 5.0, since_start=True)}
    found = with_grantor(LOST, "hq", revoked=revoked)
    assert grants_of("paris-1", survey(found))[0].age_s == 5.0


def test_a_grantor_whose_name_another_machine_has_by_now_is_not_forgotten() -> None:
    moved = with_guard(GOOD, "paris-1", addresses={"hq": "10.77.0.99", "milan-1": "10.77.0.21"})
    found = survey(refusing(b.silenced(moved, "paris-1"), "hq", "paris-1"))
    assert [(one.grantor, one.age_s is None) for one in grants_of("paris-1", found)] == [
        ("hq", False), ("hq at 10.77.0.99", True), ("milan-1", False), ("milan-2", False)]
    heard = with_grantor(moved, "hq", hears=())
    assert "paris-1" in view_of("hq", survey(heard)).deaf_to
