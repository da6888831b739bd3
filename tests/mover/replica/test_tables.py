"""Scrubs read also the tables that only QEMU uses, and believe no size that a file claims."""

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from mover.errors import Damaged, MoverError, Refused, TryAgain
from mover.image.qcow2 import Overlay
from mover.replica import retire, tables
from mover.replica.replica import Replica, locked
from mover.replica.scrub import Request, Suspect, _apart, _cut_off, verify
from mover.replica.state import BASE, File, files, render_state

from tests.mover.replica.test_crashes import STRIDE, run_until
from tests.mover.transfers import Machine, assert_every_point_reads_as_its_disk

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")
SIZE = 2 << 20


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A VM with four points."""
    made = Machine(tmp_path, {"vda": SIZE})
    for _ in range(4):
        made.cycle(4)
    return made


def look(machine: Machine) -> dict[str, object]:
    """Verify the whole replica."""
    return verify(Request(str(machine.root), restart=True, at=1.0))


def vouched(machine: Machine) -> list[int]:
    """Return the points that were last found whole."""
    return [point.sequence for point in Replica(str(machine.root)).state.points
            if point.verified_at is not None and not point.damaged]


def top(machine: Machine) -> Path:
    """Return the newest overlay."""
    return machine.root / "vda/rp-000004.qcow2"


def flip(path: Path, at: int, bit: int = 1) -> None:
    """Flip a bit."""
    data = bytearray(path.read_bytes())
    data[at] ^= bit
    path.write_bytes(data)


def name_at(path: Path) -> int:
    """Return where the name of the file below lies."""
    at: int = struct.unpack_from(">Q", path.read_bytes(), 8)[0]
    return at


def of_tables(which: str) -> Callable[[Path], int]:
    """Return what finds a byte of a part of the tables."""
    def find(path: Path) -> int:
        with Overlay(str(path)) as overlay:
            header, first = overlay.header, next(overlay.places())
        return {"entry": first + 8 * 8191 + 7, "table": header.l1_offset + 8 * 5,
                "first table": header.l1_offset, "counts": header.refcount_offset + 7,
                "block": header.refcount_offset + 65536 + 1}[which]
    return find


@pytest.mark.parametrize(("place", "bit"), [
    (name_at, 1), (name_at, 128), (lambda _: 18, 2), (lambda path: name_at(path) + 9, 1),
    (lambda _: 50, 1), (lambda _: 63, 1),
    (lambda _: 79, 2), (lambda _: 87, 1), (lambda _: 95, 1), (lambda _: 23, 1), (lambda _: 35, 1),
    (lambda _: 11, 128), (lambda _: 5000, 1), (of_tables("entry"), 1), (of_tables("table"), 1),
    (of_tables("first table"), 128), (of_tables("counts"), 1), (of_tables("block"), 1)])
def test_a_flipped_bit_of_what_only_qemu_reads_is_found_and_the_next_copy_mends_it(
        machine: Machine, place: Callable[[Path], int], bit: int) -> None:
    flip(top(machine), place(top(machine)), bit)
    told = look(machine)
    assert told["found_clusters"]
    assert told["scan"] == ["vda"], "its disk is compared as a whole next"
    assert vouched(machine) == [1, 2, 3]
    machine.open("vda", "overlay")
    machine.send("vda", machine.everything("vda"), "whole")
    machine.publish(vda={"transfers": ["whole"], "whole": True})
    assert look(machine)["scan"] == []
    assert vouched(machine) == [1, 2, 3, 5]
    assert_every_point_reads_as_its_disk(machine, but=(4,))


def test_no_flipped_bit_of_a_header_is_let_pass(machine: Machine) -> None:
    replica, path = Replica(str(machine.root)), top(machine)
    [file] = [one for one in files(replica.state)["vda"] if one.name == path.name]
    head = path.read_bytes()[:512]
    for at in range(name_at(path) + 16):
        for bit in range(8):
            wrong = bytearray(head)
            wrong[at] ^= 1 << bit
            with path.open("r+b") as overlay:
                overlay.write(wrong)
            with pytest.raises((Damaged, Refused)):
                tables.check(replica, "vda", file)


def hostile(machine: Machine, at: int, form: str, value: int) -> None:
    """Put a number into the header of the newest overlay."""
    data = bytearray(top(machine).read_bytes())
    struct.pack_into(form, data, at, value)
    top(machine).write_bytes(data)


@pytest.mark.parametrize(("at", "form", "value"), [
    (36, ">I", 0xFFFFFFFF), (36, ">I", 1 << 22), (24, ">Q", 1 << 62), (24, ">Q", (1 << 64) - 1),
    (40, ">Q", 1 << 63), (16, ">I", 0xFFFFFFFF), (8, ">Q", 1 << 60), (100, ">I", 0xFFFFFFF0)])
def test_a_size_that_cannot_be_is_a_sentence(
        machine: Machine, at: int, form: str, value: int) -> None:
    hostile(machine, at, form, value)
    with pytest.raises(MoverError), Overlay(str(top(machine))) as overlay:
        list(overlay.sums())
    assert look(machine)["scan"] == ["vda"]


def test_hashes_that_are_said_to_be_many_are_a_sentence(machine: Machine) -> None:
    data = bytearray(top(machine).read_bytes())
    with Overlay(str(top(machine))) as overlay:
        place = overlay.header.sums
    assert place is not None
    at = data.index(struct.pack(">QQ", place.offset, place.clusters))
    struct.pack_into(">Q", data, at + 8, 1 << 59)
    top(machine).write_bytes(data)
    assert look(machine)["scan"] == ["vda"]


def aged(machine: Machine) -> None:
    """Have the state be one of before tables had a hash."""
    state = Replica(str(machine.root)).state
    points = tuple(point._replace(files={
        disk: file._replace(check="") if file else None for disk, file in point.files.items()})
        for point in state.points)
    outer = json.loads(render_state(state._replace(points=points)))["state"]
    outer["version"] = 1
    for point in outer["points"]:
        for file in point["files"].values():
            file.pop("check", None)
    body = json.dumps(outer, sort_keys=True, indent=1)
    for path in machine.root.glob("state.json.*"):
        path.unlink()
    (machine.root / "state.json").write_text(json.dumps(
        {"check": hashlib.sha256(body.encode()).hexdigest(), "state": outer}))


def test_a_replica_of_an_earlier_version_is_read_and_looked_at_all_the_same(
        machine: Machine) -> None:
    aged(machine)
    look(machine)
    assert vouched(machine) == [1, 2, 3, 4]
    machine.cycle(3)
    assert_every_point_reads_as_its_disk(machine)
    flip(machine.root / "vda/rp-000005.qcow2", of_tables("block")(
        machine.root / "vda/rp-000005.qcow2"))
    flip(top(machine), 50)      # the counts are not where it says: no hash, but QEMU sees it
    look(machine)
    assert vouched(machine) == [1, 2, 3]


def test_points_that_are_let_go_leave_the_others_as_they_are_checked(machine: Machine) -> None:
    machine.cycle(4)
    with locked(str(machine.root)) as replica:
        retire.retire(replica, 3)
        retire.retire(replica, 1)
    look(machine)
    assert vouched(machine) == [2, 4, 5]


@pytest.mark.parametrize("sequence", [1, 2])
def test_a_crash_while_points_are_let_go_damages_nothing_by_its_checks(
        machine: Machine, monkeypatch: pytest.MonkeyPatch, sequence: int) -> None:
    monkeypatch.setattr(tables, "_ask_qemu", lambda path, **_: None)
    kept = machine.folder / "kept"
    shutil.copytree(machine.root, kept)

    def work() -> None:
        with locked(str(machine.root)) as replica:
            retire.finish(replica)
            if any(point.sequence == sequence for point in replica.state.points):
                retire.retire(replica, sequence)

    step, done = 1, False
    while not done:
        shutil.rmtree(machine.root)
        shutil.copytree(kept, machine.root)
        done = run_until(step, work)
        assert look(machine)["found_clusters"] == 0, step
        assert run_until(10 ** 9, work)
        assert look(machine)["found_clusters"] == 0, step
        step += 2 * STRIDE


def test_without_qemu_img_nothing_is_vouched_for(
        machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(machine.folder))
    with pytest.raises(TryAgain, match="install qemu-utils"):
        look(machine)
    assert vouched(machine) == []


@pytest.mark.parametrize(("status", "found"), [(2, True), (3, False)])
def test_what_qemu_img_says_of_a_file_that_is_as_it_was_written(
        machine: Machine, monkeypatch: pytest.MonkeyPatch, status: int, found: bool) -> None:
    (machine.folder / "qemu-img").write_text(f"#!/bin/sh\necho odd >&2\nexit {status}\n")
    (machine.folder / "qemu-img").chmod(0o755)
    monkeypatch.setenv("PATH", f"{machine.folder}:{os.environ['PATH']}")
    assert bool(look(machine)["found_clusters"]) is found


def test_a_qemu_img_that_cannot_look_condemns_nothing(
        machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.folder / "qemu-img").write_text("#!/bin/sh\necho no memory >&2\nexit 1\n")
    (machine.folder / "qemu-img").chmod(0o755)
    monkeypatch.setenv("PATH", f"{machine.folder}:{os.environ['PATH']}")
    with pytest.raises(TryAgain, match="no memory"):
        look(machine)
    assert Replica(str(machine.root)).state.damage == ()


def test_a_large_base_that_is_gone_or_cut_needs_no_list_of_its_clusters(tmp_path: Path) -> None:
    file = File("base-000001.raw", BASE, 1 << 50, 0)
    assert len(_cut_off(str(tmp_path / file.name), file)) == 0
    (tmp_path / file.name).write_bytes(b"x" * 65536)
    (tmp_path / "base-000001.man").touch()
    assert _cut_off(str(tmp_path / file.name), file) == range(1, 1 << 34)
    rows = Suspect("vda", file.name, range(1, 1 << 34)).ranges()
    assert rows == [range(1, 1 << 34)]
    assert Suspect("vda", file.name, [3, 4, 9]).ranges() == [range(3, 5), range(9, 10)]
    assert _apart([range(3, 5), range(20, 30), range(4, 9), range(22, 23), range(9, 10)]) == [
        range(3, 10), range(20, 30)]
