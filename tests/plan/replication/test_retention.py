"""Retention: the last few, hourly and daily points stay, and any pinned or in doubt."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controller.model.protection_policy import KeepSpec
from controller.model.replica import PointFacts
from controller.plan.replication.retention import is_needed, surplus
from tests.plan import replicas as r

HOUR_S = 3600


def at(sequence: int, hour: float, damaged: int = 0) -> PointFacts:
    started_at = hour * HOUR_S
    return PointFacts(sequence, f"hotsite-{sequence:06d}", started_at, started_at + 4,
                      quiesced=False, stored_bytes=r.MIB, damaged_clusters=damaged)


def going(points: list[PointFacts], keep: KeepSpec, **more: Any) -> tuple[int, ...]:
    return surplus(r.replica("sql", tuple(points), **more), keep)


def test_the_last_ones_stay() -> None:
    assert going([at(n, n / 60) for n in range(1, 8)], KeepSpec(last=3)) == (1, 2, 3, 4)
    assert going([at(n, n / 60) for n in range(1, 4)], KeepSpec(last=3)) == ()


def test_the_newest_of_each_hour_and_day_stays() -> None:
    points = [at(n, n / 2) for n in range(1, 101)]
    hourly = going(points, KeepSpec(last=1, hourly=3))
    assert set(range(1, 101)) - set(hourly) == {100, 99, 97}
    daily = going(points, KeepSpec(last=1, daily=2))
    assert set(range(1, 101)) - set(daily) == {100, 95}


def test_of_an_hour_a_sound_point_is_kept_rather_than_a_damaged_one() -> None:
    points = [at(1, 1.0), at(2, 1.5, damaged=1), at(3, 2.0), at(4, 2.5)]
    assert going(points, KeepSpec(last=1, hourly=2)) == (2, 3)


def test_a_pinned_point_and_all_below_it_stay() -> None:
    points = [at(n, n / 60) for n in range(1, 8)]
    assert going(points, KeepSpec(last=2), pins={"drill": 3, "ann": 2}) == (4, 5)


def test_the_last_point_of_a_disk_that_newer_ones_lack_stays() -> None:
    points = [at(n, n / 60) for n in range(1, 8)]
    assert going(points, KeepSpec(last=2), left_out={"vdb": "torn"}, last_with={"vdb": 3}) == (4, 5)
    old = r.replica("sql", tuple(points[:3]), disks={"vda": 1, "vdb": 1})
    for left, needed in (({}, False), ({"vdb": "torn"}, True), ({"vdz": "torn"}, False)):
        new = r.replica("sql", tuple(points[3:]), left_out=left)
        assert is_needed(old, new, KeepSpec(last=2)) is needed


def test_nothing_goes_while_the_newest_is_in_doubt() -> None:
    points = [at(n, n / 60) for n in range(1, 8)]
    assert going([*points, at(8, 1.0, damaged=1)], KeepSpec(last=2)) == ()
    assert going(points, KeepSpec(last=2), lost_files=("vda/base-000001.raw",)) == ()
    assert going(points, KeepSpec(last=2), unreadable="no JSON") == ()
    assert going([], KeepSpec()) == ()


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), max_size=30),
       st.integers(1, 9), st.integers(0, 9), st.integers(0, 9), st.integers(-1, 30))
def test_the_newest_the_last_and_the_pinned_never_go(
        told: list[tuple[int, bool]], last: int, hourly: int, daily: int, pin: int) -> None:
    hours = sorted(hour for hour, _ in told)
    points = [at(n, hour, int(bad)) for n, (hour, (_, bad)) in
              enumerate(zip(hours, told, strict=True), start=1)]
    found = going(points, KeepSpec(last=last, hourly=hourly, daily=daily), pins={"drill": pin})
    left = [point for point in points if point.sequence not in found]
    assert left[-last:] == points[-last:]
    assert all(sequence > pin for sequence in found)
    assert not found or not left[-1].damaged_clusters
    again = surplus(r.replica("sql", tuple(left), pins={"drill": pin}),
                    KeepSpec(last=last, hourly=hourly, daily=daily))
    assert again == ()
