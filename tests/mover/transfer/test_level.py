"""How hard data is packed follows the line that it goes over."""

from pathlib import Path

import pytest
from mover.transfer.codec import level_for
from mover.transfer.throttle import LineRate

from tests.mover.disks import MIB, archive, exported, filled, needs_qemu, received, same, send

pytestmark = needs_qemu
__all__ = ["archive"]

CODE = Path(__file__).parents[3] / "controller"


def code() -> bytes:
    """A MiB of text as people write it."""
    return b"".join(path.read_bytes() for path in sorted(CODE.rglob("*.py")))[:MIB]


def test_a_thin_line_is_given_more_thoroughly_packed_data(tmp_path: Path, archive: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", code())
    wide, thin = tmp_path / "wide", tmp_path / "thin"
    with exported(disk, tmp_path / "s") as socket:
        sent = [send(archive, [wire], socket=socket, rate_bps=rate_bps)
                for wire, rate_bps in ((wide, 0), (thin, 20e6))]
    assert [one.status for one in sent] == [0, 0]
    assert sent[1].result["wire_bytes"] < 0.95 * sent[0].result["wire_bytes"]
    received([thin], tmp_path / "b.raw")
    same(tmp_path / "b.raw", disk)


@pytest.mark.parametrize(("rate_bps", "level"), [
    (0, 1), (1e6, 8), (20e6, 8), (40e6, 7), (80e6, 5), (150e6, 3), (1e9, 1)])
def test_the_level_follows_the_line(rate_bps: float, level: int) -> None:
    assert level_for(rate_bps, 1) == level


class Clock:
    """A clock that stands until it is told."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(("busy_s", "rate_bps"), [
    (4.0, 8 << 20), (2.0, 8 << 20),     # the line was full
    (1.9, 0), (0.0, 0)])                # the transfer waited for something else
def test_a_line_is_judged_by_what_it_carries_while_it_is_full(
        busy_s: float, rate_bps: float) -> None:
    clock = Clock()
    line = LineRate(clock=clock)
    clock.now_s = 4.0
    line.wrote(4 * MIB, busy_s)
    assert line.rate_bps == rate_bps


def test_the_streams_of_a_line_are_busy_at_the_same_time() -> None:
    clock = Clock()
    line = LineRate(streams=4, clock=clock)
    clock.now_s = 1.0
    for _ in range(4):
        line.wrote(MIB, 1.0)
    assert line.rate_bps == 32 << 20


def test_a_line_that_is_full_no_more_keeps_the_rate_that_is_known() -> None:
    clock = Clock()
    line = LineRate(clock=clock)
    clock.now_s = 4.0
    line.wrote(4 * MIB, 4.0)
    clock.now_s = 5.0
    line.wrote(4 * MIB, 0.1)
    assert line.rate_bps == 8 << 20


def test_memory_stays_within_64_mib_on_a_thin_line(tmp_path: Path, archive: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", code() * 32)
    with exported(disk, tmp_path / "s") as socket:
        sent = send(archive, [tmp_path / "w"], socket=socket, rate_bps=24e6, budget_s=3)
    assert sent.status == 0, sent.error
    assert sent.result["peak_bytes"] <= 64 * MIB, sent.result["peak_bytes"]
