"""The way back: former disks become the base, what differs is sent, and the tail is kept."""

from pathlib import Path
from typing import Any

import pytest
from mover.image.hashing import CLUSTER_BYTES
from mover.replica.replica import Replica

from tests.mover.disks import archive, needs_qemu, tool
from tests.mover.failover.returning import (
    CHECKPOINT,
    UUID,
    Sites,
    allocated,
    definition,
    digest,
    refusal,
    same,
    write,
)

__all__ = ["archive"]
pytestmark = needs_qemu
CHANGED, DIVERGED = 2, 3


@pytest.fixture(name="sites")
def sites_fixture(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> Sites:
    """A VM at Paris with a replica at Milan."""
    return Sites(tmp_path, archive, monkeypatch)


def lose_paris(sites: Sites) -> tuple[Path, set[int]]:
    """Fail over to Milan at epoch 7, where the VM goes on; return its overlay and what diverged."""
    diverged = sites.sampled(20)
    write(sites.disk, diverged, DIVERGED)
    overlay = sites.milan.promoted(1, 7)
    write(overlay, sites.sampled(40), CHANGED)
    sites.play(definition(sites.disk))
    return overlay, set(diverged)


@pytest.mark.parametrize("with_bitmap", [True, False])
def test_only_what_changed_there_or_diverged_here_is_sent(sites: Sites, *, with_bitmap: bool
                                                          ) -> None:
    overlay, diverged = lose_paris(sites)
    if not with_bitmap:
        tool("qemu-img", "bitmap", "--remove", sites.disk, CHECKPOINT)
    before = digest(sites.disk)
    told = sites.paris.adopt(7, known=sites.known())
    assert told["by"] == {"vda": "bitmap" if with_bitmap else "hashes"}
    assert told["read_bytes"] <= (len(diverged) * CLUSTER_BYTES if with_bitmap else 1 << 30)
    sent = sites.copy(overlay, sites.paris, 2, 7)
    union = allocated(overlay) | diverged
    assert sent <= 1.1 * len(union) * CLUSTER_BYTES
    assert same(sites.paris.top(2), overlay)
    assert digest(sites.disk) == before
    assert sites.paris.sound(7)


def test_the_tail_is_a_point_that_nobody_takes_away(sites: Sites) -> None:
    lose_paris(sites)
    sites.paris.adopt(7)
    state = Replica(str(sites.paris.root)).state
    assert state.pins == {"tail-1": 1}
    assert state.facts["epoch"] == 7
    assert state.points[0].facts["diverged"] == {"epoch": 7, "by": "jo", "until": 2000.0}
    sites.copy(sites.milan.pool / "sql.fo-7.qcow2", sites.paris, 2, 7)
    assert "pinned by tail-1" in refusal(sites.paris, "retire", sequences=[1], epoch=7)
    assert "pinned by tail-1" in refusal(sites.paris, "remove", store="hotsite-replicas",
                                         uuid=sites.paris.root.name, epoch=7)


def test_taken_back_once_is_taken_back(sites: Sites) -> None:
    lose_paris(sites)
    first = sites.paris.adopt(7)
    again = sites.paris.adopt(7)
    assert (again["sequence"], again["read_bytes"]) == (first["sequence"], 0)
    assert sites.paris.points() == [1]


def test_two_failovers_in_a_row_and_back(sites: Sites) -> None:
    paris, milan = sites.paris, sites.milan
    first, _ = lose_paris(sites)
    paris.adopt(7)
    sites.copy(first, paris, 2, 7)
    write(first, sites.sampled(5), 4)       # Milan is lost, too: this diverges
    lost, old, former = allocated(first), digest(sites.disk), digest(first)
    sites.play(definition(sites.disk))
    second = paris.promoted(2, 8)
    write(second, sites.sampled(10), 5)
    sites.play(definition(first, 7))
    told = milan.adopt(8)
    assert told["sequence"] == 2
    assert "promoted" not in Replica(str(milan.root)).state.facts
    sent = sites.copy(second, milan, 3, 8)
    assert sent <= 1.1 * CLUSTER_BYTES * len(allocated(second) | lost)
    assert same(milan.top(3), second)
    sites.copy(second, milan, 4, 8)
    told = milan.done("retire", replica=str(milan.root), sequences=[3], epoch=8)
    assert told["points"] == [1, 2, 4], "the former disk, which lies over point 1, is its own"
    third = milan.promoted(4, 9)
    assert same(third, second)
    write(third, [1], 6)
    assert same(milan.top(4), second)
    assert (digest(sites.disk), digest(first)) == (old, former)
    assert milan.sound(9)
    assert paris.sound(8)
    assert set(Replica(str(milan.root)).state.pins) == {"failover-7", "failover-9", "tail-2"}


def test_what_is_released_is_retired_and_the_former_disk_is_only_read(sites: Sites) -> None:
    overlay, _ = lose_paris(sites)
    sites.paris.adopt(7)
    sites.copy(overlay, sites.paris, 2, 7)
    write(overlay, [3], 7)
    sites.copy(overlay, sites.paris, 3, 7)
    before, root = digest(sites.disk), str(sites.paris.root)
    assert refusal(sites.paris, "release", sequence=2, epoch=7).endswith(
        "restore point 2 is no tail that is kept")
    assert sites.paris.done("release", replica=root, epoch=7) == {"released": [1], "pins": {}}
    told = sites.paris.done("retire", replica=root, sequences=[1], epoch=7)
    assert (told["points"], [one["way"] for one in told["merged"]]) == ([2, 3], ["apart"])
    assert same(sites.paris.top(3), overlay)
    assert digest(sites.disk) == before
    assert sites.paris.sound(7)
    assert sorted(path.name for path in (sites.paris.root / "vda").iterdir()
                  if "incoming" not in path.name) == [
        "base-000002.man", "base-000002.raw", "rp-000003.qcow2"]
    assert refusal(sites.paris, "release", epoch=7).endswith("the replica keeps no tail")


def test_a_former_disk_that_was_written_to_is_read_again_and_mended(sites: Sites) -> None:
    overlay, _ = lose_paris(sites)
    sites.paris.adopt(7)
    sites.copy(overlay, sites.paris, 2, 7)
    untouched = next(number for number in range(512) if number not in allocated(overlay)
                     and number not in allocated(sites.paris.top(2)))
    write(sites.disk, [untouched], 9)       # a person has started the older copy
    assert "damaged clusters: it never becomes the VM" in sites.paris.done(
        "promote", machines=[{"replica": str(sites.paris.root), "sequence": 2, "epoch": 8,
                              "uuid": UUID, "machine": "sql"}]
    )["machines"][0]["failed"]["sentence"]
    sites.copy(overlay, sites.paris, 3, 7)
    state = Replica(str(sites.paris.root)).state
    assert [bool(point.damaged) for point in state.points] == [True, True, False]
    assert same(sites.paris.top(3), overlay)


@pytest.mark.parametrize(("state", "why"), [
    ("running (booted)", "is running here: its disks are taken back when it is off"),
    ("paused (user)", "is paused here")])
def test_disks_are_not_taken_from_under_a_guest(sites: Sites, state: str, why: str) -> None:
    lose_paris(sites)
    sites.play(definition(sites.disk), state)
    assert why in refusal(sites.paris, "adopt", **adoption())


def test_nor_those_of_the_copy_that_is_the_vm(sites: Sites) -> None:
    overlay, _ = lose_paris(sites)
    sites.play(definition(overlay, 7))
    assert "is of epoch 7 here: it is no older copy" in refusal(sites.milan, "adopt", **adoption())


def test_a_disk_that_cannot_be_read_is_left_to_a_seed(sites: Sites) -> None:
    lose_paris(sites)
    small = sites.paris.pool / "small.qcow2"
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", small, "1M")
    sites.play(definition(small))
    told = sites.paris.adopt(7)
    assert (told["sequence"], told["disks"]) == (None, [])
    assert "serve it with qemu-nbd" in told["left_out"]["vda"]
    state = Replica(str(sites.paris.root)).state
    assert (state.points, state.facts["epoch"], state.pins) == ((), 7, {})


def adoption() -> dict[str, Any]:
    """Return what is asked for."""
    return {"vm": UUID, "epoch": 7, "by": "jo", "at": 1000.0, "until": None}
