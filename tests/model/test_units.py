"""Units for people: which are read, which are refused, how they are shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.model.units import (
    SIZES,
    is_memory_of,
    parse_disk_bytes,
    parse_duration_s,
    parse_memory_bytes,
    parse_rate_bps,
    parse_share,
    parse_size_bytes,
    render_duration,
    render_size,
    render_sizes,
)


@pytest.mark.parametrize(("text", "size_bytes"), [
    ("40GiB", 40 << 30), ("1.5 GiB", 3 << 29), ("10GB", 10**10), ("512MiB", 1 << 29), ("0B", 0)])
def test_sizes_are_bytes(text: str, size_bytes: int) -> None:
    assert parse_size_bytes(text) == size_bytes


@pytest.mark.parametrize(("text", "duration_s"), [
    ("5m", 300.0), ("250ms", 0.25), ("7d", 604800.0), ("1.5h", 5400.0)])
def test_durations_are_seconds(text: str, duration_s: float) -> None:
    assert parse_duration_s(text) == pytest.approx(duration_s)


def test_rates_and_shares_are_base_units() -> None:
    assert parse_rate_bps("200Mbit/s") == 200_000_000
    assert parse_share("20%") == pytest.approx(0.2)


@pytest.mark.parametrize("text", [
    "40", "40 gib", "GiB", "-1GiB", "1e3GiB", "40GiB ", "", "٤GiB", 40, 1.5, None, True, ["1GiB"],
    "9" * 400 + "GiB"])
def test_what_lacks_a_unit_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="write it like 40GiB"):
        parse_size_bytes(text)


@given(st.integers(min_value=0, max_value=1 << 50), st.sampled_from(["KiB", "MiB", "GiB", "TiB"]))
def test_a_whole_number_of_units_is_exact(count: int, unit: str) -> None:
    if count < 10**15:
        assert parse_size_bytes(f"{count}{unit}") == pytest.approx(count * SIZES[unit], rel=1e-15)


@given(st.integers(min_value=0, max_value=1 << 50))
def test_a_size_as_shown_reads_back_as_nearly_the_same(size_bytes: int) -> None:
    assert parse_size_bytes(render_size(size_bytes)) == pytest.approx(size_bytes, rel=1e-3)


@given(st.integers(min_value=0, max_value=1023), st.sampled_from(["KiB", "MiB", "GiB", "TiB"]))
def test_a_round_size_survives_the_round_trip(count: int, unit: str) -> None:
    size_bytes = count * SIZES[unit]
    assert parse_size_bytes(render_size(size_bytes)) == size_bytes


@pytest.mark.parametrize(("duration_s", "text"), [
    (0.25, "0.25s"), (40, "40s"), (200, "3m20s"), (300, "5m"), (7500, "2h05m"), (12 * 86400, "12d"),
    (-3, "0s"), (0, "0s"), (0.000967, "0.967ms"), (0.005, "5ms"),
    (0.0994, "99.4ms"), (0.1, "0.1s")])
def test_durations_are_shown_as_people_say_them(duration_s: float, text: str) -> None:
    assert render_duration(duration_s) == text


@pytest.mark.parametrize(("text", "memory_bytes", "disk_bytes"), [
    ("1GB", 976563 << 10, 10**9), ("1.5GB", 1464844 << 10, 1_500_000_256),
    ("100MB", 97657 << 10, 100_000_256), ("2GiB", 2 << 30, 2 << 30), ("1B", 1024, 512)])
def test_memory_and_disks_are_as_large_as_the_world_can_hold(
        text: str, memory_bytes: int, disk_bytes: int) -> None:
    assert parse_memory_bytes(text) == memory_bytes
    assert parse_disk_bytes(text) == disk_bytes


def test_a_guest_has_its_memory_when_it_lacks_nothing_and_has_less_than_a_mebibyte_more() -> None:
    assert is_memory_of(1 << 30, 1 << 30)
    assert is_memory_of((1 << 30) + (1 << 20) - 1, 1 << 30)
    assert not is_memory_of((1 << 30) - 1024, 1 << 30)
    assert not is_memory_of((1 << 30) + (1 << 20), 1 << 30)


@given(st.integers(min_value=0, max_value=1 << 50), st.integers(min_value=-4096, max_value=4096))
def test_sizes_that_differ_are_never_shown_by_equal_words(size_bytes: int, more: int) -> None:
    other = max(0, size_bytes + more)
    one_words, other_words = render_sizes(size_bytes, other)
    assert (one_words == other_words) == (size_bytes == other)
