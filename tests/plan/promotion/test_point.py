"""Points: the newest sound one, one instant for a group, or the one that a person asks for."""

from typing import Any

import pytest

from controller.model.protection_policy import ProtectionPolicySpec
from controller.model.replica import PointFacts
from controller.plan.promotion.point import (
    NEWEST,
    Asked,
    Candidate,
    choose_common,
    choose_point,
    parse_asked,
)

NOW_S = 1_000_000.0
GOLD = ProtectionPolicySpec.model_validate({"rpo": "5m"})
STRICT = ProtectionPolicySpec.model_validate({"rpo": "5m", "maxAge": "6m"})


def point(sequence: int, age_s: float, **more: Any) -> PointFacts:
    return PointFacts(sequence, "", NOW_S - age_s, NOW_S - age_s + 4, False, 1, **more)


def vm(name: str, *points: PointFacts, policy: ProtectionPolicySpec = GOLD) -> Candidate:
    return Candidate(name, points, policy, NOW_S, NOW_S)


def told(choice: Any) -> tuple[int | None, tuple[str, ...]]:
    return (None if choice.point is None else choice.point.sequence,
            tuple(gate.reason for gate in choice.gates))


@pytest.mark.parametrize(("age_s", "policy", "gates"), [
    (60, GOLD, ()), (899, GOLD, ()), (901, GOLD, ("TooOld",)), (359, STRICT, ()),
    (361, STRICT, ("TooOld",)), (-60, GOLD, ("InTheFuture",))])
def test_the_newest_point_is_taken_and_one_that_is_too_old_waits_for_a_person(
        age_s: float, policy: ProtectionPolicySpec, gates: tuple[str, ...]) -> None:
    one = vm("sql", point(7, 3000), point(8, age_s), policy=policy)
    assert told(choose_point(one)) == (8, gates)


def test_a_person_is_told_what_would_be_lost_and_may_accept_it() -> None:
    (gate,) = choose_point(vm("sql", point(8, 3000))).gates
    assert gate.yields
    assert gate.sentence == ("it would go back to 1970-01-12 12:56:40 UTC, and more than 15m is"
                             " not lost without a person's yes")


def test_of_what_is_lost_it_is_told_how_much() -> None:
    (gate,) = choose_point(vm("sql", point(8, 300_000))._replace(lost_at=NOW_S - 60)).gates
    assert gate.sentence.startswith("it would go back to 1970-01-09 02:26:40 UTC, 3d before it was"
                                    " lost, and more than 15m")


def test_a_damaged_newer_point_is_passed_over_and_both_are_told() -> None:
    choice = choose_point(vm("sql", point(7, 400), point(8, 100, damaged_clusters=2)))
    assert told(choice) == (7, ())
    assert choice.note == ("point 8 of 1970-01-12 13:45:00 UTC is damaged: it comes back from"
                           " point 7 of 1970-01-12 13:40:00 UTC")


def test_behind_a_damaged_point_one_may_be_too_old() -> None:
    one = vm("sql", point(7, 4000), point(8, 100, damaged_clusters=2))
    assert told(choose_point(one)) == (7, ("TooOld",))


@pytest.mark.parametrize("points", [(), (point(8, 100, damaged_clusters=2),)])
def test_without_a_sound_point_nothing_is_taken(points: tuple[PointFacts, ...]) -> None:
    choice = choose_point(vm("sql", *points))
    assert told(choice) == (None, ("NoPoint",))
    assert not choice.gates[0].yields


def test_a_group_takes_the_newest_points_of_one_instant() -> None:
    found = choose_common([vm("app", point(4, 300), point(5, 60)),
                           vm("sql", point(8, 302), point(9, 120))])
    assert {name: told(choice) for name, choice in found.items()} == {
        "app": (4, ()), "sql": (8, ())}


def test_a_group_without_one_instant_waits_and_is_told_how_far_apart_it_is() -> None:
    found = choose_common([vm("app", point(5, 60)), vm("sql", point(9, 120))])
    assert {name: told(choice) for name, choice in found.items()} == {
        "app": (5, ("GroupSkew",)), "sql": (9, ("GroupSkew",))}
    assert found["sql"].gates[0].sentence == (
        "they are of one group and have no point of one instant: sql of 1970-01-12 13:44:40 UTC,"
        " app of 1970-01-12 13:45:40 UTC, 1m apart")
    assert found["sql"].gates[0].yields


def test_one_of_a_group_without_any_point_does_not_age_the_others() -> None:
    found = choose_common([vm("app", point(5, 60)), vm("sql")])
    assert {name: told(choice) for name, choice in found.items()} == {
        "app": (5, ()), "sql": (None, ("NoPoint",))}


def test_an_instant_takes_the_newest_point_before_it_and_nothing_is_too_old() -> None:
    asked = Asked(until_at=NOW_S - 3600)
    assert told(choose_point(vm("sql", point(1, 9000), point(2, 3700), point(3, 60)),
                             asked)) == (2, ())
    late = choose_point(vm("sql", point(3, 60)), asked)
    assert late.gates[0].sentence == (
        "it has no sound point of 1970-01-12 12:46:40 UTC or before: its oldest is 3 of 1970-01-12"
        " 13:45:40 UTC")


def test_a_group_goes_back_to_one_instant_before_the_one_that_is_asked_for() -> None:
    found = choose_common([vm("app", point(4, 4000), point(5, 60)),
                           vm("sql", point(8, 4003), point(9, 3700))],
                          Asked(until_at=NOW_S - 3600))
    assert {name: told(choice) for name, choice in found.items()} == {
        "app": (4, ()), "sql": (8, ())}


def test_a_number_is_a_point_of_one_vm() -> None:
    one = vm("sql", point(1, 9000), point(2, 3700, damaged_clusters=1), point(3, 60))
    assert told(choose_point(one, Asked(sequence=1))) == (1, ())
    assert choose_point(one, Asked(sequence=2)).gates[0].sentence == \
        "it has no sound point 2, but 1, 3"
    both = choose_common([one, vm("app", point(1, 60))], Asked(sequence=1))
    assert told(both["sql"]) == (None, ("NoPoint",))
    assert "ask for an instant" in both["sql"].gates[0].sentence


def test_what_is_asked_for_is_read() -> None:
    assert parse_asked("") == NEWEST
    assert parse_asked("41") == Asked(sequence=41)
    assert parse_asked("1970-01-12T13:46:40Z") == Asked(until_at=NOW_S)
    wrong = choose_point(vm("sql", point(1, 60)), parse_asked("yesterday"))
    assert told(wrong) == (None, ("NoPoint",))
    assert wrong.gates[0].sentence == ("'yesterday' is no instant: write it like"
                                       " 2026-11-23T06:00:00Z, or by the number of a point")


@pytest.mark.parametrize("asked", [NEWEST, Asked(sequence=2), Asked(until_at=NOW_S)])
def test_a_tail_is_never_taken_whoever_asks(asked: Asked) -> None:
    choice = choose_point(vm("sql", point(1, 100), point(2, 10, diverged=True)), asked)

    assert (choice.point is None) == (asked.sequence == 2)
    assert choice.point is None or choice.point.sequence == 1
