"""Two copies that ran at once are told, with their length, and nothing else is."""

from dataclasses import replace

import pytest

from controller.model.failover.guard import Tombstone
from controller.model.failover.record import Record, RecordedHost, RecordedMachine
from controller.plan.failover.breach import breach_of
from controller.plan.survey.survey import take_survey
from tests.plan import builders as b
from tests.plan.guarded import guarded, seen, with_guard

LAB = guarded(b.vm("sql", protection="cut", placement={"site": "paris"}))
UUID = b.domain_uuid("lab", "sql")
PROVEN_AT = b.NOW_S - 200.0


def told(ended_at: float, still_s: float = 0.0, proven_at: float = PROVEN_AT,
         uuid: str = UUID, moved_to: int = 0) -> str:
    """What is said of sql, whose guard ended it at some time, after so long a standstill."""
    tomb = Tombstone(uuid, "sql", ended_at, "nobody has granted paris-1", still_s)
    observed = with_guard(seen(LAB, {"sql": "paris-1"}), "paris-1", tombstones=(tomb,))
    record = Record(scope="Host/paris-1", epoch=1, term=0, phase="returning", by="", reason="",
                    hosts={"paris-1": RecordedHost("boot", proven_at=proven_at)},
                    machines={"sql": RecordedMachine(UUID, 3, "milan-1")})
    survey = take_survey(LAB, observed, b.APPLIED, b.NOW_S)
    if moved_to:
        survey = replace(survey, epochs={"sql": moved_to})
    return breach_of("sql", record, survey)


def test_a_guest_that_outlived_the_proof_of_its_end_is_told_with_the_length() -> None:
    assert told(PROVEN_AT + 150, still_s=180).startswith(
        "two copies of sql ran at once, for 3.3s at most: the guard of paris-1 ended the old one"
        " at ")
    assert "since paris-1 had stood still for 3m; what it wrote is on its old disks alone" in told(
        PROVEN_AT + 150, still_s=180)


def test_a_host_that_did_not_stand_still_ran_it_all_the_while_and_until_it_had_ended() -> None:
    assert "for 2m33" in told(PROVEN_AT + 150)
    assert "for 4.3s at most" in told(PROVEN_AT + 1)


def test_ending_it_takes_its_time_after_a_standstill_too() -> None:
    assert "for 3.3s at most" in told(PROVEN_AT + 1, still_s=180)


def test_a_vm_that_was_moved_back_and_then_ended_there_ran_once() -> None:
    assert told(PROVEN_AT + 150, moved_to=2) == ""


@pytest.mark.parametrize("more", [
    {"ended_at": PROVEN_AT - 1}, {"ended_at": PROVEN_AT + 150, "proven_at": 0.0},
    {"ended_at": PROVEN_AT + 150, "uuid": "another"}])
def test_one_that_ended_in_time_is_none(more: dict[str, float]) -> None:
    assert told(**more) == ""


def test_without_a_failover_there_is_none() -> None:
    survey = take_survey(LAB, seen(LAB, {"sql": "paris-1"}), b.APPLIED, b.NOW_S)
    assert breach_of("sql", None, survey) == ""
