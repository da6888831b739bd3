"""An old or damaged state.json loses no restore point: the newest whole one is used."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mover.errors import Damaged, Refused
from mover.replica import generations, publish, verbs
from mover.replica.replica import Replica, locked
from mover.replica.scrub import Request, verify

from tests.mover.transfers import Machine, ask, assert_every_point_reads_as_its_disk

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A VM with four points; `last-night` is the state.json that knew of two."""
    made = Machine(tmp_path, {"vda": 2 << 20})
    made.cycle(4)
    made.cycle(4)
    shutil.copy(made.root / "state.json", tmp_path / "last-night")
    made.cycle(4)
    made.cycle(4)
    return made


def put_back(machine: Machine) -> None:
    """Put an earlier state.json back, as people are told to."""
    shutil.copy(machine.folder / "last-night", machine.root / "state.json")


def rotten(machine: Machine) -> None:
    """Flip one bit of state.json."""
    raw = bytearray((machine.root / "state.json").read_bytes())
    raw[40] ^= 1
    (machine.root / "state.json").write_bytes(raw)


def without_copies(machine: Machine) -> None:
    """Take away what could be recovered from."""
    for path in machine.root.glob("state.json.*"):
        path.unlink()


@pytest.mark.parametrize("deed", [
    put_back, rotten, lambda machine: (machine.root / "state.json").unlink(),
    lambda machine: (machine.root / "state.json").write_bytes(b"")])
def test_every_point_is_there_whatever_becomes_of_the_state(
        machine: Machine, deed: Callable[[Machine], object]) -> None:
    deed(machine)
    assert verbs.describe(str(machine.root))["recovered"]
    machine.cycle(4)
    assert [point.sequence for point in Replica(str(machine.root)).state.points] == [1, 2, 3, 4, 5]
    assert_every_point_reads_as_its_disk(machine)
    told = json.loads((machine.root / "state.json").read_text())["state"]
    assert [point["sequence"] for point in told["points"]] == [1, 2, 3, 4, 5]
    assert not verbs.describe(str(machine.root))["recovered"]


def test_the_last_generations_are_kept_and_no_more(machine: Machine) -> None:
    held = sorted(generations.copies(str(machine.root)))
    newest = Replica(str(machine.root)).state.generation
    assert held == list(range(newest - len(held) + 1, newest + 1))
    assert len(held) <= generations.COPIES


def test_a_copy_that_is_damaged_is_passed_over(machine: Machine) -> None:
    rotten(machine)
    newest = max(generations.copies(str(machine.root)))
    (machine.root / f"state.json.{newest}").write_bytes(b"torn")
    state = generations.newest(str(machine.root)).state
    assert state.generation == newest - 1
    with pytest.raises(Refused, match="newer than state.json"), locked(str(machine.root)):
        pass


@pytest.mark.parametrize("verb", ["incoming-open", "retire", "verify", "pin"])
def test_what_is_newer_than_the_state_stays_and_is_told(machine: Machine, verb: str) -> None:
    put_back(machine)
    without_copies(machine)
    before = sorted(path.name for path in (machine.root / "vda").iterdir())
    request = {"replica": str(machine.root), "attempt": "a", "holder": "me",
               "disks": {"vda": {"kind": "overlay", "size_bytes": 2 << 20}}}
    if verb == "verify":
        request = {"replica": str(machine.root)}
    status, told = ask(verb, request, machine.folder)
    assert status == 1
    assert "rp-000003.qcow2 is newer than state.json, which ends at restore point 2" in str(
        told["sentence"])
    assert sorted(path.name for path in (machine.root / "vda").iterdir()) == before
    with (machine.root / "state.json").open("rb") as file:
        assert b'"sequence": 3' not in file.read()


def test_what_a_crash_left_before_its_commit_goes_as_ever(machine: Machine) -> None:
    machine.open("vda", "overlay")
    machine.send("vda", machine.change("vda", 2))
    folder = machine.root / "vda"
    (folder / "rp-000005.qcow2").hardlink_to(folder / "incoming.part")
    (folder / "rp-000006.qcow2").touch()    # without a header it was never finished
    with locked(str(machine.root)):
        assert not list(folder.glob("rp-00000[56]*"))


def test_a_newer_base_keeps_its_hashes(machine: Machine) -> None:
    put_back(machine)
    without_copies(machine)
    folder = machine.root / "vda"
    for path in folder.glob("rp-00000[34]*"):
        path.unlink()
    shutil.copy(folder / "base-000001.raw", folder / "base-000009.raw")
    shutil.copy(folder / "base-000001.man", folder / "base-000009.man")
    assert not [path for path in Replica(str(machine.root)).clean() if "/vda/" in path]


def test_a_state_of_a_newer_version_is_refused_and_no_copy_stands_in(machine: Machine) -> None:
    outer = json.loads((machine.root / "state.json").read_text())
    outer["state"]["version"] = 99
    body = json.dumps(outer["state"], sort_keys=True, indent=1)
    outer["check"] = hashlib.sha256(body.encode()).hexdigest()
    (machine.root / "state.json").write_text(json.dumps(outer))
    with pytest.raises(Refused, match="another version"):
        Replica(str(machine.root))


def test_a_replica_made_before_copies_were_kept_is_read_and_gets_them(machine: Machine) -> None:
    without_copies(machine)
    machine.cycle(4)
    assert_every_point_reads_as_its_disk(machine)
    assert generations.copies(str(machine.root))
    verify(Request(str(machine.root), restart=True))


def test_where_nothing_whole_is_left_nothing_is_taken_for_empty(machine: Machine) -> None:
    rotten(machine)
    without_copies(machine)
    with pytest.raises(Damaged, match="state.json"):
        publish.publish(publish.Request(str(machine.root), 5, {"vda": {"unchanged": True}}))


def test_a_removal_that_is_cut_off_leaves_no_replica_that_looks_whole(machine: Machine) -> None:
    generations.forget(str(machine.root))
    assert not generations.is_there(str(machine.root))
    with pytest.raises(Refused, match="is no replica"):
        Replica(str(machine.root))
