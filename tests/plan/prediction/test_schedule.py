"""The last start: waves one after the other, hosts beside each other, boots by width."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from controller.plan.prediction.schedule import BEGIN_S, Batch, last_start_s


def batches(*starts: tuple[int, str, float, float]) -> dict[tuple[int, str], Batch]:
    """By order and host, from (order, host, start, boot); a boot of 0 is watched by nobody."""
    found: dict[tuple[int, str], Batch] = defaultdict(Batch)
    for order, node, start_s, boot_s in starts:
        if boot_s:
            found[order, node].watched.append((start_s, boot_s))
        else:
            found[order, node].at_once_s += start_s
    return found


def test_nothing_that_starts_has_no_last_start() -> None:
    assert last_start_s({}, {}) is None


def test_hosts_start_beside_each_other_and_waves_one_after_the_other() -> None:
    one_wave = batches((1, "a", 3, 0), (1, "a", 3, 0), (1, "b", 4, 0))
    assert last_start_s(one_wave, {}) == BEGIN_S + 6
    two_waves = batches((1, "a", 3, 0), (2, "b", 4, 0))
    assert last_start_s(two_waves, {}) == 2 * BEGIN_S + 7


def test_a_watched_vm_keeps_its_place_until_it_is_healthy() -> None:
    three = batches(*[(1, "a", 2.0, 30.0)] * 3)
    assert last_start_s(three, {"a": 1}) == BEGIN_S + 62
    assert last_start_s(three, {"a": 2}) == BEGIN_S + 32
    assert last_start_s(three, {"a": 3}) == BEGIN_S + 2


def test_the_last_wave_ends_with_its_last_start_and_those_before_with_their_boots() -> None:
    two = batches((1, "a", 2.0, 30.0), (2, "a", 2.0, 500.0))
    assert last_start_s(two, {}) == 2 * BEGIN_S + 30 + 2


STARTS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from("ab"),
                            st.floats(0.125, 8, width=16), st.sampled_from([0.0, 8.0, 60.0])),
                  min_size=1, max_size=12)


@given(STARTS, STARTS)
def test_one_more_vm_never_makes_the_last_start_earlier(
        some: list[tuple[int, str, float, float]],
        more: list[tuple[int, str, float, float]]) -> None:
    few, many = last_start_s(batches(*some), {}), last_start_s(batches(*some, *more), {})
    assert few is not None
    assert many is not None
    assert many >= few


@given(STARTS, st.integers(1, 4))
def test_more_places_never_make_the_last_start_later(
        some: list[tuple[int, str, float, float]], width: int) -> None:
    narrow = last_start_s(batches(*some), dict.fromkeys("ab", width))
    wide = last_start_s(batches(*some), dict.fromkeys("ab", 12))
    assert narrow is not None
    assert wide is not None
    assert wide <= narrow
