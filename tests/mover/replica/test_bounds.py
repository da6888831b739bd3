"""Limits on the disk and memory that a source can fill on a target, whatever it sends."""

import os
from pathlib import Path

import pytest
from mover.errors import Damaged, TryAgain
from mover.image import index
from mover.image.hashing import CLUSTER_BYTES
from mover.replica import incoming
from mover.transfer import wire

from tests.mover.replicas import HASHER, Change
from tests.mover.transfers import ATTEMPT, Machine, feed, write_stream

SIZE = 16 * CLUSTER_BYTES
DATA = b"d" * CLUSTER_BYTES


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A VM whose replica has one point, with an overlay open."""
    machine = Machine(tmp_path, {"vda": SIZE})
    machine.cycle(3)
    machine.open("vda", "overlay")
    return machine


def send_on(machine: Machine, what: list[Change]) -> None:
    """Send the same in one transfer after another until it is refused."""
    for number in range(1000):
        feed(machine.root, write_stream(machine.folder / "s", "vda", SIZE, what, f"t{number}"))


@pytest.mark.parametrize("words", [
    {"streams": 1 << 62}, {"streams": 65}, {"streams": 0}, {"stream": 1}, {"stream": 1 << 40},
    {"transfer": "t" * 257}, {"codec": "c" * 100_000}])
def test_a_hello_that_nothing_ever_fulfils_is_refused(
        machine: Machine, tmp_path: Path, words: dict[str, object]) -> None:
    fd = os.open(tmp_path / "stream", os.O_CREAT | os.O_WRONLY)
    writer = wire.Writer(fd, HASHER)
    writer.hello(wire.Hello("t", "vda", SIZE, HASHER.algorithm, HASHER.secret_id,
                              attempt=ATTEMPT)._replace(**words))
    writer.end()
    os.close(fd)
    with pytest.raises(Damaged, match="HELLO"):
        feed(machine.root, tmp_path / "stream")


def test_a_stream_carries_no_more_than_its_disk_has(machine: Machine, tmp_path: Path) -> None:
    everything = [(cluster, DATA) for cluster in range(16)]
    feed(machine.root, write_stream(tmp_path / "whole", "vda", SIZE, everything))
    for more in (DATA, bytes(CLUSTER_BYTES)):
        with pytest.raises(Damaged, match="new clusters of a disk"):
            feed(machine.root, write_stream(tmp_path / "more", "vda", SIZE,
                                            [*everything, (3, more)], "again"))


def test_what_comes_again_and_again_fills_no_disk_and_is_begun_anew(
        machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "SPARE_BYTES", 0)
    part = machine.root / "vda/incoming.part"
    with pytest.raises(Damaged, match="were received for it"):
        send_on(machine, [(cluster, DATA) for cluster in range(16)])
    assert part.stat().st_size <= 4 * SIZE
    assert machine.open("vda", "overlay")["resumed"] is False
    assert part.stat().st_size == 0


def test_ends_without_end_are_begun_anew(
        machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "MOST_ENDS_BYTES", 2000)
    with pytest.raises(Damaged, match="is longer than"):
        send_on(machine, [])
    with pytest.raises(TryAgain, match="is not complete"):
        incoming.require_ends(str(machine.root / "vda"), ["another"])
    assert machine.open("vda", "overlay")["resumed"] is False
    assert incoming.ends(str(machine.root / "vda")) == []
