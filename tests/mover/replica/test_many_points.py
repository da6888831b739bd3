"""Replication goes on however many points have been made."""

import shutil
from pathlib import Path

import pytest
from mover.errors import Refused
from mover.replica import publish, replica, retire
from mover.replica.replica import Replica, create, locked

from tests.mover.replicas import HASHER
from tests.mover.transfers import ATTEMPT, SECRET, Machine, assert_every_point_reads_as_its_disk

SIZE = (8 << 20) + 3 * 512


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")
def test_points_are_numbered_past_six_digits(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"vda": SIZE})
    machine.sequence = 999_998
    machine.open("vda", "base")
    machine.send("vda", machine.everything("vda"), "first")
    machine.publish(vda={"transfers": ["first"]})
    for _ in range(2):
        machine.open("vda", "overlay")
        machine.send("vda", machine.change("vda", 20), "next")
        publish.publish(publish.parse_request({
            "replica": str(machine.root), "sequence": machine.sequence + 1,
            "disks": {"vda": {"transfers": ["next"]}}, "attempt": ATTEMPT,
            "meta": {"domain.xml": {"text": "<domain/>"}}}))
        machine.sequence += 1
        machine.remember()
    assert_every_point_reads_as_its_disk(machine)
    (machine.root / "vda/rp-1000009.qcow2").touch()
    (machine.root / "meta/1000009").mkdir()
    with locked(str(machine.root)) as replica:
        retire.retire(replica, 999_999)
    assert [one.sequence for one in Replica(str(machine.root)).state.points] == [10**6, 10**6 + 1]
    assert_every_point_reads_as_its_disk(machine)
    assert {path.name for path in (machine.root / "meta").iterdir()} == {"1000000", "1000001"}
    assert {path.name for path in (machine.root / "vda").iterdir()} == {
        "base-999999.raw", "base-999999.man", "rp-1000001.qcow2", "incoming.lock"}


def test_late_points_without_a_state_are_not_taken_for_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "vda").mkdir()
    (tmp_path / "vda/rp-1000000.qcow2").touch()
    with pytest.raises(Refused, match=r"no state\.json"):
        create(str(tmp_path), "a-vm", HASHER.algorithm, SECRET)


def test_the_names_of_new_folders_are_on_the_disk_before_anything_is_in_them(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(replica, "sync_dir", synced.append)
    create(str(tmp_path / "hotsite-replicas/a-vm"), "a-vm", HASHER.algorithm, SECRET)
    assert synced[:2] == [str(tmp_path), str(tmp_path / "hotsite-replicas")]
