"""The source end against real exports: it sends what changed, and that rebuilds the disk."""

import json
import os
import random
import sys
from pathlib import Path

import pytest
from mover.image.hashing import CLUSTER_BYTES, Hasher
from mover.image.manifest import Header, Manifest
from mover.transfer.throttle import BURST_S

from tests.mover.disks import (
    MIB,
    SECRET,
    Running,
    archive,
    exported,
    filled,
    image,
    needs_qemu,
    received,
    same,
    send,
    tool,
    written,
)
from tests.waiting import wait_until

pytestmark = needs_qemu
__all__ = ["archive"]

READY = "echo '{\"ready\": true}';"
WORDS = (b"server", b"client", b"error", b"request", b"session", b"connection", b"timeout",
         b"database", b"table", b"index", b"update", b"select", b"commit", b"page", b"buffer")


def text(size: int, seed: int = 1) -> bytes:
    """Bytes like a log: words, numbers, little order."""
    dice = random.Random(seed)
    line = b" ".join(dice.choice(WORDS) + b"%d" % dice.randrange(10**6) for _ in range(size // 12))
    return line[:size].ljust(size, b"\n")


def manifest_of(path: Path, data: bytes) -> Path:
    """The manifest of a disk that holds `data`."""
    hasher = Hasher("xxh3-128", bytes.fromhex(SECRET))
    header = Header(len(data), hasher.algorithm, hasher.secret_id)
    with Manifest.create(str(path), header) as manifest:
        manifest.put(0, hasher.clusters(data))
    return path


@pytest.mark.parametrize("size", [4 * MIB, 4 * MIB + 512, 5 * MIB - CLUSTER_BYTES])
def test_a_full_copy_over_three_streams_is_the_disk(
        tmp_path: Path, archive: Path, size: int) -> None:
    disk = image(tmp_path / "a.qcow2", size, "write -P 7 0 300k", "write -P 0 1M 128k",
                 f"write -P 9 {size - 512} 512", "write -P 3 2000k 4k")
    wires = [tmp_path / f"wire{number}" for number in range(3)]
    with exported(disk, tmp_path / "s") as socket:
        sent = send(archive, wires, socket=socket)
    assert sent.status == 0, sent.error
    assert sent.result["complete"]
    received(wires, tmp_path / "b.raw")
    same(tmp_path / "b.raw", disk)
    assert (tmp_path / "b.raw").stat().st_size == size


@pytest.mark.parametrize("algorithm", ["xxh3-128", "sha256-128"])
@pytest.mark.parametrize("codec", ["zstd", "zlib", "none"])
def test_every_codec_and_algorithm_carries_the_disk(
        tmp_path: Path, archive: Path, codec: str, algorithm: str) -> None:
    disk = filled(tmp_path / "a.qcow2", text(MIB) + os.urandom(MIB))
    with exported(disk, tmp_path / "s") as socket:
        sent = send(archive, [tmp_path / "w"], socket=socket, codec=codec, algorithm=algorithm)
    assert sent.status == 0, sent.error
    assert received([tmp_path / "w"], tmp_path / "b.raw") == 2 * MIB
    same(tmp_path / "b.raw", disk)


def test_an_increment_carries_what_the_bitmap_says_and_makes_the_new_disk(
        tmp_path: Path, archive: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(8 * MIB))
    tool("qemu-img", "convert", "-O", "raw", disk, tmp_path / "b.raw")
    tool("qemu-img", "bitmap", "--add", disk, "since")
    written(disk, "write -P 1 100k 4k", "write -P 2 3M 200k", "discard 5M 1M", "write -P 0 7M 64k")
    with exported(disk, tmp_path / "s", "--bitmap=since") as socket:
        sent = send(archive, [tmp_path / "w"], socket=socket, mode="increment", bitmap="since")
    assert sent.status == 0, sent.error
    assert sent.result["planned_bytes"] == 64 * 1024 * (1 + 4 + 16 + 1)
    assert received([tmp_path / "w"], tmp_path / "b.raw") == 5 * CLUSTER_BYTES
    assert sent.result["zero_bytes"] == 17 * CLUSTER_BYTES
    same(tmp_path / "b.raw", disk)


def test_a_repair_set_rides_on_an_increment(tmp_path: Path, archive: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(4 * MIB))
    tool("qemu-img", "bitmap", "--add", disk, "since")
    written(disk, "write -P 1 1M 64k")
    with exported(disk, tmp_path / "s", "--bitmap=since") as socket:
        sent = send(archive, [tmp_path / "w"], socket=socket, mode="increment", bitmap="since",
                    ranges=[[3 * MIB, 1], [MIB, 10], [CLUSTER_BYTES, 2 * CLUSTER_BYTES]])
    assert sent.result["data_bytes"] == 4 * CLUSTER_BYTES


def test_a_cycle_without_a_change_sends_next_to_nothing(tmp_path: Path, archive: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(MIB))
    tool("qemu-img", "bitmap", "--add", disk, "since")
    with exported(disk, tmp_path / "s", "--bitmap=since") as socket:
        sent = send(archive, [tmp_path / "w"], socket=socket, mode="increment", bitmap="since")
    assert sent.status == 0, sent.error
    assert (tmp_path / "w").stat().st_size == sent.result["wire_bytes"] < 1024


def test_a_scan_sends_only_what_differs_from_the_manifest(tmp_path: Path, archive: Path) -> None:
    old = bytearray(os.urandom(6 * MIB))
    known = manifest_of(tmp_path / "known", bytes(old) + bytes(2 * MIB))
    (tmp_path / "b.raw").write_bytes(bytes(old) + bytes(2 * MIB))
    old[MIB:MIB + 10] = b"0123456789"
    old[3 * MIB:3 * MIB + CLUSTER_BYTES] = bytes(CLUSTER_BYTES)
    disk = filled(tmp_path / "a.qcow2", bytes(old) + bytes(2 * MIB))
    with exported(disk, tmp_path / "s") as socket:
        send(archive, [tmp_path / "w"], socket=socket, mode="scan", known=str(known))
    assert received([tmp_path / "w"], tmp_path / "b.raw") == CLUSTER_BYTES
    same(tmp_path / "b.raw", disk)


def test_a_spent_budget_says_where_it_ended_and_the_rest_completes_it(
        tmp_path: Path, archive: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(32 * MIB))
    tool("qemu-img", "bitmap", "--add", disk, "since")
    with exported(disk, tmp_path / "s", "--bitmap=since") as socket:
        first = send(archive, [tmp_path / "w"], socket=socket, budget_s=0.5, rate_bps=100e6)
        received([tmp_path / "w"], tmp_path / "b.raw")
        reached = first.result["reached"]
        assert first.status == 0
        assert not first.result["complete"]
        assert 0 < reached < 32 * MIB
        send(archive, [tmp_path / "w"], socket=socket, mode="increment", bitmap="since",
             ranges=first.result["left"])
    received([tmp_path / "w"], tmp_path / "b.raw")
    same(tmp_path / "b.raw", disk)


def test_text_shrinks_to_half_and_noise_does_not_grow(tmp_path: Path, archive: Path) -> None:
    log = filled(tmp_path / "log.qcow2", text(8 * MIB))
    noise = filled(tmp_path / "noise.qcow2", os.urandom(8 * MIB))
    with exported(log, tmp_path / "s") as socket:
        small = send(archive, [tmp_path / "w"], socket=socket, compress="auto")
    with exported(noise, tmp_path / "t") as socket:
        large = send(archive, [tmp_path / "v"], socket=socket)
    assert small.result["wire_bytes"] <= 0.5 * 8 * MIB
    assert large.result["wire_bytes"] <= 1.01 * 8 * MIB


def test_the_throttle_is_not_passed_by_a_tenth_and_can_be_changed(
        tmp_path: Path, archive: Path) -> None:
    """That it is made use of is seen on virtual time: here a busy machine may be slower."""
    disk = filled(tmp_path / "a.qcow2", os.urandom(8 * MIB))
    with exported(disk, tmp_path / "s") as socket:
        sent = send(archive, [tmp_path / "w", tmp_path / "v"], socket=socket, rate_bps=32e6)
        rate_bps = sent.result["wire_bytes"] * 8 / sent.result["took_s"]
        assert rate_bps <= 1.1 * 32e6
        with (tmp_path / "w").open("wb") as wire:
            running = Running(archive, {
                "socket": socket, "export": "vda", "to": {"fds": [wire.fileno()]},
                "rate_bps": 1e5}, [wire.fileno()])
            running.tell({"rate_bps": 0})
            assert running.ended().result["took_s"] < 300      # at 1e5 it would be 640


LATE = """
import array, fcntl, json, sys, termios, time
waiting = array.array("i", [0])
look = lambda after_s: (time.sleep(after_s), fcntl.ioctl(0, termios.FIONREAD, waiting))
while not waiting[0]: look(2)
while sys.stdin.buffer.read(65536): pass
sys.stdout.write(json.dumps({"waiting": waiting[0]}))
"""


def test_a_limited_wire_sees_no_lump_after_a_long_login(tmp_path: Path, archive: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(4 * MIB))
    to = {"argv": [sys.executable, "-c", LATE], "count": 1}
    with exported(disk, tmp_path / "s") as socket:
        sent = send(archive, [], socket=socket, to=to, rate_bps=8e6)
    assert sent.status == 0, sent.error
    (answer,) = sent.result["answers"]
    assert 0 < answer["waiting"] <= 8e6 / 8 * BURST_S


def test_memory_stays_within_64_mib(tmp_path: Path, archive: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(64 * MIB) + text(4 * MIB) * 16)
    wires = [tmp_path / f"wire{number}" for number in range(4)]
    with exported(disk, tmp_path / "s") as socket:
        sent = send(archive, wires, socket=socket)
    assert sent.status == 0, sent.error
    assert sent.result["peak_bytes"] <= 64 * MIB


def test_memory_stays_within_64_mib_while_a_login_lasts(tmp_path: Path, archive: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(64 * MIB))
    to = {"argv": ["sh", "-c", "sleep 2; echo '{}'; cat >/dev/null; echo '{}'"], "count": 1}
    with exported(disk, tmp_path / "s") as socket:
        sent = send(archive, [], socket=socket, to=to)
    assert sent.status == 0, sent.error
    assert sent.result["peak_bytes"] <= 64 * MIB, sent.result["peak_bytes"]


def test_a_missing_bitmap_is_refused_by_name(tmp_path: Path, archive: Path) -> None:
    disk = image(tmp_path / "a.qcow2", MIB)
    with exported(disk, tmp_path / "s") as socket:
        sent = send(archive, [tmp_path / "w"], socket=socket, mode="increment", bitmap="gone")
    assert sent.status == 1
    assert "qemu:dirty-bitmap:gone" in sent.error["sentence"]


def test_an_export_that_is_not_there_can_be_tried_again(tmp_path: Path, archive: Path) -> None:
    sent = send(archive, [tmp_path / "w"], socket=str(tmp_path / "none"))
    assert (sent.status, sent.error["error"]) == (2, "try again")
    assert str(tmp_path / "none") in sent.error["sentence"]


def test_an_export_that_dies_under_way_ends_the_stream_without_an_end(
        tmp_path: Path, archive: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(32 * MIB))
    wire = tmp_path / "w"
    with exported(disk, tmp_path / "s") as socket, wire.open("wb") as out:
        running = Running(archive, {
            "socket": socket, "export": "vda", "to": {"fds": [out.fileno()]}, "secret": SECRET,
            "rate_bps": 40e6}, [out.fileno()])
        while wire.stat().st_size < MIB:
            assert running.process.poll() is None
    sent = running.ended()
    assert sent.status == 2
    assert "went away" in sent.error["sentence"]
    with pytest.raises(Exception, match="gave up|cut before its end"):
        received([wire], tmp_path / "b.raw")


def test_a_controller_that_goes_away_ends_the_transfer(tmp_path: Path, archive: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(8 * MIB))
    with exported(disk, tmp_path / "s") as socket, (tmp_path / "w").open("wb") as out:
        running = Running(archive, {
            "socket": socket, "export": "vda", "to": {"fds": [out.fileno()]},
            "rate_bps": 1e6}, [out.fileno()])
        assert running.process.stdin is not None
        running.process.stdin.close()
        assert running.ended().status == 2


RECEIVER = """
import json, os, stat, sys
key = open(sys.argv[1])
mode = stat.S_IMODE(os.fstat(key.fileno()).st_mode)
size = 0
while True:
    got = sys.stdin.buffer.read(65536)
    if not got: break
    size += len(got)
sys.stdout.write(json.dumps({"size": size, "key": key.read(), "mode": mode}))
"""


def test_programs_receive_the_streams_and_read_keys_that_lie_nowhere(
        tmp_path: Path, archive: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(4 * MIB))
    to = {"argv": [sys.executable, "-c", RECEIVER, "{key}"], "files": {"key": "s3cret"}, "count": 2}
    with exported(disk, tmp_path / "s") as socket:
        sent = send(archive, [], socket=socket, to=to)
    assert sent.status == 0, sent.error
    answers = sent.result["answers"]
    assert [(answer["key"], answer["mode"]) for answer in answers] == [("s3cret", 0o600)] * 2
    assert sum(answer["size"] for answer in answers) == sent.result["wire_bytes"]


def test_the_reason_of_a_receiver_that_gave_up_is_told(tmp_path: Path, archive: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(16 * MIB))
    refusal = json.dumps({"error": "refused", "sentence": "the pool is full"})
    to = {"argv": ["sh", "-c", 'echo "$0" >&2; exit 1', refusal]}
    with exported(disk, tmp_path / "s") as socket:
        sent = send(archive, [], socket=socket, to=to)
    assert (sent.status, sent.error["sentence"]) == (1, "the pool is full")


def test_each_line_of_progress_counts_up_to_the_plan(tmp_path: Path, archive: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(16 * MIB))
    with exported(disk, tmp_path / "s") as socket:
        sent = send(archive, [tmp_path / "w"], socket=socket, rate_bps=50e6)
    told = [line["progress"]["read_bytes"] for line in sent.lines if "progress" in line]
    assert told
    assert told == sorted(told)
    assert all(line["progress"]["total_bytes"] == 16 * MIB
               for line in sent.lines if "progress" in line)
    assert {"read": True} in sent.lines


def test_a_mover_reaches_its_receiver_before_it_is_told_what_to_send(
        tmp_path: Path, archive: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(2 * MIB))
    told = tmp_path / "told"
    taking = f"touch {told}; cat > {tmp_path}/w; echo '{{}}'"
    running = Running(archive, {"to": {"argv": ["sh", "-c", taking]}})
    wait_until(told.exists)
    with exported(disk, tmp_path / "s") as socket:
        running.tell({"socket": socket, "export": "vda", "disk": "vda", "secret": SECRET})
        sent = running.ended()
    assert sent.status == 0, sent.error
    received([tmp_path / "w"], tmp_path / "b.raw")
    same(tmp_path / "b.raw", disk)


def test_whoever_goes_away_before_all_is_asked_leaves_no_receiver(
        tmp_path: Path, archive: Path) -> None:
    alive = tmp_path / "alive"
    running = Running(archive, {"to": {"argv": ["sh", "-c", f"echo $$ > {alive}; exec cat"]}})
    wait_until(lambda: alive.exists() and alive.read_text().endswith("\n"))
    assert running.process.stdin is not None
    running.process.stdin.close()
    sent = running.ended()
    assert (sent.status, sent.error["sentence"]) == (
        1, "the request ended after its first line: one more was expected")
    pid = int(alive.read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_a_receiver_that_has_not_answered_yet_may_have_it_sent_again(
        tmp_path: Path, archive: Path) -> None:
    """Until it has, nobody knows whether the way leads there, so the disk is kept open."""
    disk = filled(tmp_path / "a.qcow2", os.urandom(MIB))
    for answer, is_done in (
            ("", False), ("echo Welcome;", False), (f"echo hello; {READY}", True)):
        go = tmp_path / "go"
        taking = f"{answer} touch {go}; cat > /dev/null; echo '{{}}'"
        running = Running(archive, {"to": {"argv": ["sh", "-c", taking]}})
        wait_until(go.exists)
        with exported(disk, tmp_path / "s") as socket:
            running.tell({"socket": socket, "export": "vda", "disk": "vda", "secret": SECRET})
            assert ({"read": True} in running.ended().lines) == is_done
        go.unlink()


UNREACHED = {
    "no such program": ["/nonexistent/ssh"],
    "ssh that is not let in": ["sh", "-c", "echo 'root@h: Permission denied.' >&2; exit 255"],
    "an account without a shell": ["sh", "-c", "echo This account is not available.; exit 1"],
    "no python there": ["sh", "-c", "echo 'sh: python3: not found' >&2; exit 127"],
    "a mover that is gone": ["sh", "-c", "echo \"python3: can't open file\" >&2; exit 2"],
    "silence": ["false"],
}


@pytest.mark.parametrize("what", UNREACHED)
def test_a_way_that_does_not_lead_there_is_told_from_one_that_breaks(
        tmp_path: Path, archive: Path, what: str) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(MIB))
    with exported(disk, tmp_path / "s") as socket:
        sent = send(archive, [], socket=socket, to={"argv": UNREACHED[what]})
    assert (sent.status, sent.error["error"]) == (2, "unreached")


@pytest.mark.parametrize(("ready", "error"), [("", "unreached"), (READY, "try again")])
def test_who_was_let_in_and_then_cut_off_is_tried_again(
        tmp_path: Path, archive: Path, ready: str, error: str) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(MIB))
    with exported(disk, tmp_path / "s") as socket:
        sent = send(archive, [], socket=socket, to={"argv": ["sh", "-c", f"{ready} exit 255"]})
    assert sent.error["error"] == error


@pytest.mark.parametrize("stream", ["", ">&2"])
def test_what_a_receiver_says_takes_no_more_room_than_a_sentence_needs(
        tmp_path: Path, archive: Path, stream: str) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(MIB))
    floods = f"cat >/dev/null & head -c 300000000 /dev/zero | tr '\\0' x {stream}"
    with exported(disk, tmp_path / "s") as socket:
        sent = send(archive, [], socket=socket, to={"argv": ["sh", "-c", floods]})
    assert sent.status in (0, 2)
    assert len(json.dumps(sent.error)) < 2000


def test_nothing_that_a_receiver_says_drives_a_terminal(tmp_path: Path, archive: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(MIB))
    with exported(disk, tmp_path / "s") as socket:
        sent = send(archive, [], socket=socket,
                    to={"argv": ["sh", "-c", "printf '\\033]0;own\\007\\033[2Jgone' >&2; exit 9"]})
    assert sent.error["sentence"] == "?]0;own??[2Jgone"
