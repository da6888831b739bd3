"""Seeded faults hit disks and attempts: each point that is made equals the disks of then."""

import os
import shutil
from pathlib import Path
from random import Random

import pytest
from mover.backup import offline, origins
from mover.errors import MoverError
from mover.replica import incoming, publish
from mover.replica.replica import Replica, locked

from tests.mover.disks import needs_qemu
from tests.mover.offline_machine import OfflineVm, put_back, qcow2, write
from tests.mover.transfers import Machine, assert_every_point_reads_as_its_disk, feed, write_stream

pytestmark = needs_qemu
SEEDS = range(20 if os.environ.get("SOAK") else 3)
STEPS = 12


class Hands:
    """Somebody who does things to the disks of a VM that is off."""

    def __init__(self, vm: OfflineVm, dice: Random) -> None:
        self.vm, self.dice = vm, dice
        self.kept: dict[str, Path] = {}
        self.runs = 0

    def path(self) -> str:
        """Return one of the disks."""
        return self.vm.disks[self.dice.choice(sorted(self.vm.disks))].source

    def write(self) -> None:
        """Start the VM for a moment."""
        write(self.path(), self.dice.randrange(2), self.dice.randrange(1, 250))

    def keep(self) -> None:
        """Make a backup of a disk."""
        path = self.path()
        self.kept[path] = Path(f"{path}.{len(self.kept)}")
        shutil.copy(path, self.kept[path])

    def put_back(self) -> None:
        """Write a backup over its disk."""
        if self.kept:
            path = self.dice.choice(sorted(self.kept))
            put_back(self.kept[path], path)

    def replace(self) -> None:
        """Put a backup in the place of its disk."""
        if self.kept:
            path = self.dice.choice(sorted(self.kept))
            shutil.copy(self.kept[path], f"{path}.new")
            Path(f"{path}.new").rename(path)

    def swap(self) -> None:
        """Exchange both disks by their names."""
        one, other = (disk.source for disk in self.vm.disks.values())
        Path(one).rename(f"{one}.aside")
        Path(other).rename(one)
        Path(f"{one}.aside").rename(other)

    def run(self) -> None:
        """Let the VM run long enough to be copied while it does."""
        self.runs += 1
        self.vm.ran(f"hotsite-{self.runs:06d}-{self.dice.getrandbits(32):08x}")


@pytest.mark.parametrize("seed", SEEDS)
def test_every_copy_at_rest_is_what_the_disks_are(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(offline, "FOLDER", str(tmp_path))
    monkeypatch.setattr(origins, "FRESH_NS", 0)
    dice, size = Random(seed), 2 << 20
    vm = OfflineVm(tmp_path, size, vda=qcow2(tmp_path, "vda", "A", size),
                vdb=qcow2(tmp_path, "vdb", "B", size))
    hands = Hands(vm, dice)
    hands.run()
    story = []
    for _ in range(STEPS):
        deed = dice.choice((hands.write, hands.write, hands.keep, hands.put_back, hands.replace,
                            hands.swap, hands.run))
        deed()
        story.append(deed.__name__)
        if dice.random() < 0.6:
            story.append(str(vm.copy()))
            assert vm.is_right(), story


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_comes_late_of_whichever_attempt_is_in_no_point(
        tmp_path: Path, seed: int) -> None:
    dice = Random(seed)
    machine = Machine(tmp_path, {"vda": 2 << 20}, seed)
    machine.cycle(8)
    late: list[Path] = []
    for number in range(6 * STEPS):
        attempt, size = f"attempt-{number}", len(machine.disks["vda"])
        with locked(str(machine.root)) as replica:
            incoming.prepare(replica, "vda", "overlay", size, None, attempt)
        changed = machine.change("vda", 4)
        stream = write_stream(tmp_path / f"stream-{number}", "vda", size, changed, f"t{number}",
                              attempt=attempt)
        if dice.random() < 0.5:     # its receiver does not get its turn yet
            late.append(stream)
            machine.disks["vda"][:] = machine.flats[machine.sequence, "vda"].read_bytes()
            continue
        feed(machine.root, stream)
        for path in dice.sample(late, min(2, len(late))):
            with pytest.raises(MoverError):
                feed(machine.root, path)
        finished(machine, number, attempt)
    assert len(Replica(str(machine.root)).state.points) > STEPS
    assert_every_point_reads_as_its_disk(machine)


def finished(machine: Machine, number: int, attempt: str) -> None:
    """Publish what came of an attempt."""
    machine.sequence += 1
    publish.publish(publish.Request(
        str(machine.root), machine.sequence, {"vda": {"transfers": [f"t{number}"]}},
        meta={"domain.xml": {"text": "<domain/>"}}, reread="memory", attempt=attempt))
    machine.remember()
