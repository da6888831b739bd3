"""Blocks instead of clusters: the point is the disk, the line carries little more than changed."""

import os
import random
import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mover.errors import Damaged
from mover.image.chain import compose
from mover.image.hashing import BLOCK_BYTES, CLUSTER_BYTES
from mover.transfer.blocks import asking
from mover.transfer.blocks.asking import DIFFER, SILENT, SLOW, Answers, Asking
from mover.transfer.blocks.masks import chosen, mask_of, packed_masks, put_into, sent_bytes
from mover.transfer.codec import RAW
from mover.transfer.frames import Blocks, Frame
from mover.transfer.wire import Hello, Reader, Writer

from tests.mover.disks import MIB, Sent, archive, exported, needs_qemu, send
from tests.mover.replicas import HASHER
from tests.mover.transfers import (
    ATTEMPT,
    REMOTE,
    SECRET,
    Machine,
    assert_every_point_reads_as_its_disk,
)

__all__ = ["archive"]

ODD = 4 * MIB + 3 * BLOCK_BYTES + 512       # the last cluster and its last block are short


def rewrite(machine: Machine, blocks: int) -> int:
    """Change single blocks of `vda` all over the disk, its last one too; return their bytes."""
    data = machine.disks["vda"]
    starts = set(machine.dice.sample(range(0, len(data), BLOCK_BYTES), blocks))
    starts.add(len(data) - len(data) % BLOCK_BYTES)
    for start in starts:
        size = min(BLOCK_BYTES, len(data) - start)
        data[start:start + size] = machine.dice.randbytes(size)
    return sum(min(BLOCK_BYTES, len(data) - start) for start in starts)


def receiver(machine: Machine) -> list[str]:
    """The command that receives for the machine's replica."""
    return ["sh", "-c", f"PYTHONPATH={shlex.quote(str(REMOTE))} exec {shlex.quote(sys.executable)}"
                        f" -m mover receive {shlex.quote(str(machine.root))}"]


def sent(machine: Machine, archive: Path, argv: list[str], away: Path | None = None,
         **request: Any) -> Sent:
    """Send what differs of `vda` from its newest point, and publish it; a file may be away."""
    known = machine.folder / "known.man"
    known.unlink(missing_ok=True)
    compose(machine.paths("vda", machine.sequence), str(known)).close()
    raw = machine.folder / "vda.raw"
    raw.write_bytes(machine.disks["vda"])
    machine.open("vda", "overlay")
    asked = {"mode": "scan", "known": str(known), "secret": SECRET.hex(), "attempt": ATTEMPT,
             "algorithm": HASHER.algorithm, "blocks": True, "codec": "none", "transfer": "t2"}
    with exported(raw, machine.folder / "s", form="raw") as socket, absent(away):
        done = send(archive, [], socket=socket, to={"argv": argv, "count": 1}, **asked | request)
    assert done.status == 0, done.error
    machine.publish(vda={"transfers": ["t2"]})
    return done


@contextmanager
def absent(path: Path | None) -> Iterator[None]:
    """Take a file away while the block lasts."""
    if path is None:
        yield
        return
    kept = path.rename(path.with_name("kept"))
    yield
    kept.rename(path)


def seeded(folder: Path, size: int) -> Machine:
    """A machine with a disk full of noise and its first point."""
    machine = Machine(folder, {"vda": size})
    machine.disks["vda"][:] = machine.dice.randbytes(size)
    machine.cycle(0)
    return machine


@needs_qemu
def test_of_a_cluster_only_the_blocks_that_differ_cross_the_line(
        tmp_path: Path, archive: Path) -> None:
    machine = seeded(tmp_path, ODD)
    changed_bytes = rewrite(machine, 30)
    done = sent(machine, archive, receiver(machine))
    assert_every_point_reads_as_its_disk(machine)
    assert done.result["block_bytes"] == changed_bytes
    assert done.result["peak_bytes"] <= 64 * MIB
    assert done.result["wire_bytes"] < 1.1 * changed_bytes + 4096
    assert done.result["whole_because"] == ""


@needs_qemu
def test_memory_stays_within_64_mib_while_blocks_are_asked_for_on_a_thin_line(
        tmp_path: Path, archive: Path) -> None:
    machine = seeded(tmp_path, 48 * MIB)
    for cluster in range(48 * MIB // CLUSTER_BYTES):
        at = cluster * CLUSTER_BYTES + BLOCK_BYTES
        machine.disks["vda"][at:at + BLOCK_BYTES] = machine.dice.randbytes(BLOCK_BYTES)
    done = sent(machine, archive, receiver(machine), codec="zstd", rate_bps=24e6)
    assert_every_point_reads_as_its_disk(machine)
    assert done.result["block_bytes"] == 3 * MIB
    assert done.result["peak_bytes"] <= 64 * MIB, done.result["peak_bytes"]


@needs_qemu
def test_whole_clusters_zeros_and_blocks_in_one_copy_are_the_disk(
        tmp_path: Path, archive: Path) -> None:
    machine = seeded(tmp_path, ODD)
    for _ in range(3):
        rewrite(machine, 20)
        data, whole = machine.disks["vda"], CLUSTER_BYTES
        data[0:2 * whole] = bytes(2 * whole)
        data[7 * whole:9 * whole] = machine.dice.randbytes(2 * whole)
        data[12 * whole:13 * whole - BLOCK_BYTES] = machine.dice.randbytes(whole - BLOCK_BYTES)
        data[20 * whole + BLOCK_BYTES:20 * whole + 2 * BLOCK_BYTES] = bytes(BLOCK_BYTES)
        sent(machine, archive, receiver(machine), codec="zlib")
    assert_every_point_reads_as_its_disk(machine)


@needs_qemu
def test_an_attempt_that_was_cut_off_does_not_mix_into_the_next(
        tmp_path: Path, archive: Path) -> None:
    machine = seeded(tmp_path, ODD)
    machine.open("vda", "overlay")
    machine.send("vda", machine.change("vda", 20), "t1")    # never published: other contents
    rewrite(machine, 30)
    done = sent(machine, archive, receiver(machine))
    assert done.result["asked_bytes"] > 0
    assert_every_point_reads_as_its_disk(machine)


@needs_qemu
@pytest.mark.parametrize("broken", [
    "sed -u s/blocks/blanks/",                                      # it never answers
    "sed -u 's/\"blocks\": .*/\"blocks\": [1, \"!\", 0.1]}/'",      # something else
    "sed -u 's/\"blocks\": .*/\"blocks\": [1, \"\", 0.1]}/'",       # that it cannot
    "sed -u 's/\"blocks\": .*/\"blocks\": /'"])                     # no JSON
def test_clusters_go_whole_where_the_target_gives_no_answer(
        tmp_path: Path, broken: str) -> None:
    machine = seeded(tmp_path, MIB)
    rewrite(machine, 5)
    argv = receiver(machine)
    argv[2] = f"({argv[2]}) | {broken}"
    done = sent(machine, hasty(tmp_path), argv)
    assert done.result["whole_because"] == SILENT
    assert done.result["asked_bytes"] == 0
    assert_every_point_reads_as_its_disk(machine)


def hasty(folder: Path) -> Path:
    """A mover that waits a second for an answer, not a minute."""
    main = folder / "hasty.py"
    main.write_text(f"import sys\nsys.path.insert(0, {str(REMOTE)!r})\n"
                    "from mover.transfer.blocks import asking\nasking.ANSWER_S = 1.0\n"
                    "from mover.verbs import main\nsys.exit(main(sys.argv[1:]))\n")
    return main


@needs_qemu
def test_a_point_that_cannot_be_read_is_no_obstacle(tmp_path: Path, archive: Path) -> None:
    machine = seeded(tmp_path, MIB)
    rewrite(machine, 5)
    done = sent(machine, archive, receiver(machine), away=Path(machine.paths("vda", 1)[0]))
    assert done.result["whole_because"] == SILENT
    assert_every_point_reads_as_its_disk(machine)


def cluster(seed: int) -> bytearray:
    """A cluster of noise."""
    return bytearray(random.Random(seed).randbytes(CLUSTER_BYTES))


def blocks_of(old: bytearray, new: bytearray, offset: int = 0) -> Blocks:
    """The frame that turns one cluster into another."""
    mask = mask_of(HASHER.blocks(new), HASHER.blocks(old))
    views = chosen(mask, memoryview(new))
    return Blocks([(offset, len(new))], packed_masks([mask]), sum(map(len, views)), RAW,
                  HASHER.clusters(new), b"".join(views))


@pytest.mark.parametrize("size", [512, BLOCK_BYTES, 5 * BLOCK_BYTES + 1, CLUSTER_BYTES])
def test_blocks_put_into_the_old_cluster_make_the_new_one(size: int) -> None:
    old, new = cluster(1)[:size], cluster(1)[:size]
    new[-1] ^= 1
    new[0] ^= 1
    frame = blocks_of(old, new)
    assert frame.length == sent_bytes(frame.masks, frame.extents) <= 2 * BLOCK_BYTES
    assert frame.expand(HASHER, lambda offset, length: bytearray(old)) == new


def test_blocks_for_another_cluster_than_is_there_are_refused() -> None:
    old, new = cluster(1), cluster(1)
    new[4096:8192] = bytes(4096)
    rotten = cluster(1)
    rotten[60000] ^= 4                  # a bit that flipped since the sender asked
    with pytest.raises(Damaged, match="do not make the clusters"):
        blocks_of(old, new).expand(HASHER, lambda offset, length: bytearray(rotten))


def test_a_mask_past_the_end_of_a_short_cluster_is_refused() -> None:
    with pytest.raises(Damaged, match="past the end"):
        put_into(bytearray(512), bytes(4096), packed_masks([2]), [(0, 512)])


def hear(*puts: Any, size: int = 4 * CLUSTER_BYTES) -> list[Frame]:
    """Return what a receiver makes of some frames."""
    read, write = os.pipe()
    frames: list[Frame] = []

    def speak() -> None:
        writer = Writer(write, HASHER)
        writer.hello(Hello("t", "vda", size, HASHER.algorithm, HASHER.secret_id))
        for put in puts:
            put(writer)
        writer.end()
        os.close(write)

    speaking = threading.Thread(target=speak)
    speaking.start()
    reader = Reader(read, SECRET)
    try:
        assert reader.hello() is not None
        frames += reader.frames()
    finally:
        while os.read(read, 1 << 16):
            pass
        speaking.join()
        os.close(read)
    return frames


def test_questions_and_blocks_cross_the_pipe_as_they_are() -> None:
    frame = blocks_of(cluster(1), cluster(2), CLUSTER_BYTES)
    asked = [(0, CLUSTER_BYTES), (2 * CLUSTER_BYTES, 2 * CLUSTER_BYTES)]
    heard_ask, heard_blocks = hear(lambda w: w.ask(7, asked), lambda w: w.blocks(frame))
    assert tuple(heard_ask) == (7, asked)
    assert heard_blocks == frame


@pytest.mark.parametrize("wrong", [
    lambda w: [w.ask(n, [(0, 3 * CLUSTER_BYTES)]) for n in (1, 2)],     # a cluster twice
    lambda w: w.ask(1, []),
    lambda w: w.ask(1, [(512, CLUSTER_BYTES)]),
    lambda w: w.ask(1, [(3 * CLUSTER_BYTES, 2 * CLUSTER_BYTES)]),       # past the end
    lambda w: w.blocks(blocks_of(cluster(1), cluster(2))._replace(length=4096)),
    lambda w: w.blocks(blocks_of(cluster(1), cluster(2))._replace(masks=b"\0")),
    lambda w: w.blocks(blocks_of(cluster(1), cluster(2))._replace(hashes=b"")),
    lambda w: w.blocks(blocks_of(cluster(1), cluster(2))._replace(extents=[])),
    lambda w: [w.blocks(blocks_of(cluster(1), cluster(2))) for _ in range(5)],
    lambda w: w._put(8, 1 << 40, 0, b"\0"),
    lambda w: w._put(7, 1, 1 << 40, b"\0"),
])
def test_what_no_sender_of_ours_sends_is_refused(wrong: Any) -> None:
    with pytest.raises(Damaged):
        hear(wrong)


def asker(rate_bps: float = 0.0) -> tuple[Asking, Answers]:
    """Somebody who asks, over a line of a known rate."""
    answers = Answers()
    return Asking(answers, lambda: rate_bps), answers


def answer(answers: Answers, took_s: float = 0.0) -> Any:
    """Put a question by answering it at once."""
    return lambda number, extents: answers.take([number, "AAAAAAAAAAA=", took_s])


def test_asking_ends_where_most_blocks_differ() -> None:
    asking_, _ = asker()
    asking_.judge(asking.PROBE_BYTES // 2, asking.PROBE_BYTES // 2)
    assert asking_.pays(), "too little to judge by"
    asking_.judge(asking.PROBE_BYTES // 2, asking.PROBE_BYTES // 2)
    assert asking_.why == DIFFER
    assert not asking_.pays()


@pytest.mark.parametrize(("took_s", "rate_bps", "pays"), [
    (0.1, 0, True),         # 0.4 ms a cluster: cheap, whatever the line
    (0.1, 8e9, True),
    (2.5, 0, False),        # 10 ms a cluster, and the line not known yet: whole, to learn it
    (2.5, 1e9, False),
    (2.5, 20e6, True),
])
def test_a_slow_disk_of_the_target_is_asked_only_over_a_slower_line(
        took_s: float, rate_bps: float, pays: bool) -> None:
    asking_, answers = asker(rate_bps)
    assert asking_.ask([(0, BLOCK_BYTES)], answer(answers, took_s), lambda: False)
    assert asking_.pays(), "too little to judge by"
    asking_.judge(asking.PROBE_BYTES, asking.PROBE_BYTES // 16)
    assert asking_.pays() == pays
    assert asking_.why == ("" if pays else SLOW)


def test_an_answer_of_another_length_is_none() -> None:
    asking_, answers = asker()
    assert asking_.ask([(0, CLUSTER_BYTES)], answer(answers), lambda: False) == b""
    assert asking_.why == SILENT


def test_nobody_waits_for_a_receiver_that_has_ended() -> None:
    asking_, answers = asker()
    answers.close()
    assert asking_.ask([(0, CLUSTER_BYTES)], lambda *_: None, lambda: False) == b""


def test_answers_to_questions_that_nobody_asked_are_dropped() -> None:
    answers = Answers()
    for odd in ([1, "AAAA", 0.0], None, {}, [1], ["x", "", 0], [[], "", 0], [1, 5, 0]):
        answers.take(odd)
    answers.close()
    answers.expect(1)
    assert answers.wait(1, lambda: False) is None
