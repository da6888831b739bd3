"""Late data of an attempt that was given up never reaches the next attempt."""

import os
import shutil
from pathlib import Path

import pytest
from mover.errors import Refused, TryAgain
from mover.image.chain import Chain
from mover.image.hashing import CLUSTER_BYTES
from mover.replica import incoming, publish, settle
from mover.replica.replica import locked
from mover.transfer import wire
from mover.transfer.codec import RAW

from tests.mover.replicas import HASHER
from tests.mover.transfers import (
    ATTEMPT,
    Machine,
    ask,
    assert_every_point_reads_as_its_disk,
    feed,
    write_stream,
)

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")
SIZE = 4 << 20
STALE, FRESH = b"S" * CLUSTER_BYTES, b"F" * CLUSTER_BYTES


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A VM with one point, whose next one is on its way."""
    made = Machine(tmp_path, {"vda": SIZE})
    made.cycle()
    made.open("vda", "overlay")
    return made


def late(machine: Machine, attempt: str) -> Path:
    """Return a stream that was cut before its end, which nobody has read yet."""
    path = machine.folder / "late"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    writer = wire.Writer(fd, HASHER)
    writer.hello(wire.Hello("dead", "vda", SIZE, HASHER.algorithm, HASHER.secret_id,
                              attempt=attempt))
    writer.data([(5 * CLUSTER_BYTES, CLUSTER_BYTES)], HASHER.clusters(STALE), RAW, STALE)
    os.close(fd)
    return path


def fresh(machine: Machine) -> None:
    """Send cluster 5 as it is now."""
    machine.disks["vda"][5 * CLUSTER_BYTES:6 * CLUSTER_BYTES] = FRESH
    machine.send("vda", [(5, FRESH)], "live")


@pytest.mark.parametrize("attempt", ["an-earlier-one", ""])
def test_a_receiver_that_is_late_writes_nothing(machine: Machine, attempt: str) -> None:
    fresh(machine)
    with pytest.raises(TryAgain, match="another attempt"):
        feed(machine.root, late(machine, attempt))
    machine.publish(vda={"transfers": ["live"]})
    with Chain(machine.paths("vda", 2)) as chain:
        assert chain.read(5 * CLUSTER_BYTES, CLUSTER_BYTES) == FRESH
    assert_every_point_reads_as_its_disk(machine)


def test_nor_does_one_of_a_point_that_was_published(machine: Machine) -> None:
    fresh(machine)
    machine.publish(vda={"transfers": ["live"]})
    with pytest.raises(Refused, match="has no open incoming"):
        feed(machine.root, late(machine, ATTEMPT))
    assert_every_point_reads_as_its_disk(machine)


@pytest.mark.parametrize(("verb", "request_of"), [
    ("publish", {"sequence": 2, "disks": {"vda": {"transfers": ["live"]}}, "reread": "memory"}),
    ("incoming-settle", {"disks": ["vda"]}), ("incoming-drop", {"disks": ["vda"]}),
    ("incoming-open", {"disks": {"vda": {"kind": "overlay", "size_bytes": SIZE,
                                         "note": {"checkpoint": "hotsite-000001"}}}})])
def test_an_earlier_attempt_settles_notes_drops_and_publishes_nothing(
        machine: Machine, verb: str, request_of: dict[str, object]) -> None:
    fresh(machine)
    told = ask(verb, {"replica": str(machine.root), "attempt": "an-earlier-one", **request_of},
               machine.folder)
    assert told[0] == 2, told
    assert "another attempt" in str(told[1]["sentence"])
    machine.publish(vda={"transfers": ["live"]})
    assert_every_point_reads_as_its_disk(machine)


def test_the_next_attempt_goes_on_with_what_has_come_and_ends_the_one_before(
        machine: Machine) -> None:
    fresh(machine)
    with locked(str(machine.root)) as replica:
        told = incoming.prepare(replica, "vda", "overlay", SIZE, None, "the-next")
    assert (told["resumed"], told["arrived_clusters"]) == (True, 1)
    with pytest.raises(TryAgain, match="another attempt"):
        machine.send("vda", [(6, FRESH)], "more")
    feed(machine.root, write_stream(machine.folder / "s", "vda", SIZE, [(6, FRESH)], "more",
                                    attempt="the-next"))


def test_what_was_not_settled_or_lost_something_then_is_not_published_unread(
        machine: Machine) -> None:
    fresh(machine)
    request = publish.Request(str(machine.root), 2, {"vda": {"transfers": ["live"]}},
                              reread="no", attempt=ATTEMPT)
    with pytest.raises(TryAgain, match="was not re-read yet"):
        publish.publish(request)
    rotten(machine)
    into = incoming.load(str(machine.root / "vda"))
    with pytest.raises(TryAgain, match="send them again"):
        settle.require_intact(into, "vda", HASHER, "disk")
    into.close()
    for reread in ("no", "disk"):
        with pytest.raises(TryAgain, match="not complete"):
            publish.publish(request._replace(reread=reread))


def rotten(machine: Machine) -> None:
    """Damage what was received."""
    fd = os.open(machine.root / "vda/incoming.part", os.O_RDWR)
    os.pwrite(fd, b"rot", CLUSTER_BYTES + 9)
    os.close(fd)


def test_what_comes_after_it_was_settled_makes_it_unsettled(machine: Machine) -> None:
    fresh(machine)
    assert ask("incoming-settle", {"replica": str(machine.root), "attempt": ATTEMPT,
                                   "disks": ["vda"]}, machine.folder)[0] == 0
    machine.send("vda", machine.change("vda", 1), "more")
    request = publish.Request(str(machine.root), 2, {"vda": {"transfers": ["live", "more"]}},
                              reread="no", attempt=ATTEMPT)
    with pytest.raises(TryAgain, match="was not re-read yet"):
        publish.publish(request)
    assert ask("incoming-settle", {"replica": str(machine.root), "attempt": ATTEMPT,
                                   "disks": ["vda"]}, machine.folder)[0] == 0
    publish.publish(request)
    machine.sequence = 2
    machine.remember()
    assert_every_point_reads_as_its_disk(machine)
