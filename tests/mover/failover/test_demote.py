"""A promotion that never came to run is taken back, and no other."""

from pathlib import Path
from typing import Any

import pytest
from mover.replica.replica import Replica, locked

from tests.mover.disks import needs_qemu, tool
from tests.mover.failover.promoting import UUID, Pool, definition
from tests.mover.replica.test_remove import asked

pytestmark = needs_qemu


@pytest.fixture(name="pool")
def pool_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pool:
    """A pool with a VM of two disks and three points."""
    return Pool(tmp_path, monkeypatch)


def demote(pool: Pool, to: int = 0) -> tuple[int, dict[str, Any]]:
    """Ask that a promotion is taken back: the VM is the copy of that epoch."""
    return asked(pool.machine, "demote", replica=str(pool.machine.root), uuid=UUID, to=to)


def refusal(pool: Pool, to: int = 0) -> str:
    """Return why it is not."""
    status, told = demote(pool, to)
    assert status != 0, told
    return str(told["sentence"])


def test_a_replica_follows_its_vm_again_and_may_be_promoted_again(pool: Pool) -> None:
    before, state = pool.hashes(), Replica(str(pool.machine.root)).state
    overlays = pool.promoted()["overlays"]
    (pool.machine.root / "memory").write_bytes(b"of a guest")
    assert demote(pool) == (0, {"demoted": 7})
    assert not any(Path(path).exists() for path in overlays.values())
    assert not (pool.machine.root / "memory").exists()
    after = Replica(str(pool.machine.root)).state
    assert (after.pins, after.points) == (state.pins, state.points)
    assert after.facts == {**state.facts, "epoch": 0}
    assert pool.hashes() == before
    assert demote(pool) == (0, {"demoted": 0})
    assert pool.promoted(2)["overlays"] == overlays


def test_memory_that_came_before_a_promotion_goes_too(pool: Pool) -> None:
    for name in ("memory", "memory.part"):
        (pool.machine.root / name).write_bytes(b"of a guest")
    assert demote(pool) == (0, {"demoted": 0})
    assert not list(pool.machine.root.glob("memory*"))


def test_what_a_guest_wrote_is_never_taken_back(pool: Pool) -> None:
    overlay = pool.promoted()["overlays"]["vdb"]
    tool("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 64k", overlay)
    held = Path(overlay).read_bytes()
    assert "a guest has written to" in refusal(pool)
    assert Path(overlay).read_bytes() == held
    assert Replica(str(pool.machine.root)).state.facts["promoted"]["epoch"] == 7


@pytest.mark.parametrize(("epoch", "goes"), [(6, True), (7, False), (8, False)])
def test_a_domain_of_that_epoch_is_the_vm(pool: Pool, epoch: int, *, goes: bool) -> None:
    pool.promoted()
    pool.libvirt(dumpxml=definition(epoch=epoch))
    if goes:
        assert demote(pool, 6) == (0, {"demoted": 7})
    else:
        assert f"{7} is defined on this host: it is the VM" in refusal(pool, 6)


def test_silence_of_libvirt_takes_nothing_back(pool: Pool) -> None:
    pool.promoted()
    (pool.folder / "bin/virsh").write_text("#!/bin/sh\nexit 1\n")
    assert "libvirt does not say" in refusal(pool)


def test_it_is_for_a_copy_of_an_older_epoch(pool: Pool) -> None:
    pool.promoted()
    assert "not newer than 7" in refusal(pool, 7)


def test_one_that_was_cut_off_before_its_commit_goes_on(pool: Pool) -> None:
    for overlay in pool.promoted()["overlays"].values():
        Path(overlay).unlink()
    with locked(str(pool.machine.root)) as replica:
        assert "promoted" in replica.state.facts
    assert demote(pool) == (0, {"demoted": 7})
