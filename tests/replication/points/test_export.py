"""A point is exported whole, never over an existing file, and its pin is always removed."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from controller.errors import Refused
from controller.plan.actions.replica import ExportPoint
from controller.providers.node import Node
from controller.replication.mover import Mover
from controller.replication.points.export import export, parse_exports, parse_lacking
from tests.providers.fakes import Local

needs_qemu = pytest.mark.skipif(shutil.which("qemu-img") is None,
                                reason="qemu-utils is not installed: no disk can be exported")


def state(path: str) -> dict[str, Any]:
    """What `replica-show` says of two points of two disks, one unchanged at the second."""
    return {"replicas": {path: {"points": [
        {"sequence": 1, "files": {"vda": "base-000001.raw", "vdb": "base-000001.raw"}},
        {"sequence": 2, "files": {"vda": "rp-000002.qcow2", "vdb": None}},
        {"sequence": 3, "files": {"vda": "rp-000003.qcow2", "vdb": None}}]}}}


DEFINITION = """<domain><name>sql</name><memory>1</memory><vcpu>1</vcpu><devices>
<disk type='file'><driver type='qcow2'/><source file='/d/vda.qcow2'/><target dev='vda'/></disk>
<disk type='file'><driver type='qcow2'/><source file='/d/vdb.qcow2'/><target dev='vdb'/></disk>
<disk type='file'><driver type='qcow2'/><source file='/d/vdc.qcow2'/><target dev='vdc'/></disk>
<disk type='block' device='lun'><source dev='/dev/sdx'/><target dev='sda'/></disk>
<tpm model='tpm-crb'><backend type='emulator'/></tpm></devices></domain>"""


@pytest.mark.parametrize(("facts", "definition", "lacking"), [
    ({}, DEFINITION, ["disk vdc /d/vdc.qcow2 (it was left out)",
                      "disk sda /dev/sdx (it is a LUN, to which the guest can write past QEMU)",
                      "its TPM state (it was made without)"]),
    ({"without": ["disk vdc (as declared)"]}, "<domain/>", ["disk vdc (as declared)"]),
    ({"without": [], "nvram_missing": "/v is too large"}, DEFINITION,
     ["its NVRAM (/v is too large)", "its TPM state (it was made without)"]),
    ({"without": [], "tpm_missing": "it is encrypted"}, DEFINITION,
     ["its TPM state (it is encrypted)"]),
    ({}, "<domain/>", []), ({}, "no XML", []),
])
def test_what_is_not_in_a_point_is_named(tmp_path: Path, facts: dict[str, Any], definition: str,
                                         lacking: list[str]) -> None:
    wanted = action(tmp_path)
    shown = state(wanted.path)
    shown["replicas"][wanted.path]["points"][1]["facts"] = facts
    assert parse_lacking(shown, wanted, definition) == lacking


class PinningMover(Mover):
    """A mover that keeps pins and shows one replica; everything else runs on this machine."""

    def __init__(self, path: str) -> None:
        super().__init__(Node(Local({"PATH": os.environ["PATH"]}), "milan-1"))
        self.path, self.pins, self.asked = path, dict[str, int](), list[str]()

    async def ask(self, verb: str, request: dict[str, Any], *, failed: str,
                  timeout_s: float = 60.0) -> dict[str, Any]:
        """Keep a pin, or show the replica."""
        self.asked.append(verb)
        if verb == "replica-show":
            assert self.pins, "it is pinned before it is looked at"
            return state(self.path)
        if request["sequence"] is None:
            del self.pins[request["holder"]]
        else:
            self.pins[request["holder"]] = request["sequence"]
        return {}


def action(folder: Path, sequence: int = 2) -> ExportPoint:
    """The action for one point of sql."""
    return ExportPoint(target="Replica/sql", node="milan-1", reason="", path=f"{folder}/replica",
                       machine="sql", sequence=sequence, folder=f"{folder}/out")


def tool(*words: object) -> str:
    """Run a program that must succeed."""
    return subprocess.run([str(word) for word in words], check=True, capture_output=True,
                          text=True).stdout


@pytest.fixture
def mover(tmp_path: Path) -> PinningMover:
    """A replica of two disks whose first has an overlay, and a folder to export into."""
    root = tmp_path / "replica"
    for disk, byte in (("vda", 1), ("vdb", 2)):
        (root / disk).mkdir(parents=True)
        (root / disk / "base-000001.raw").write_bytes(bytes([byte]) * (1 << 20))
    overlay = root / "vda/rp-000002.qcow2"
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "base-000001.raw", overlay)
    tool("qemu-io", "-c", "write -P 9 64k 64k", overlay)
    (root / "meta/000002").mkdir(parents=True)
    (root / "meta/000002/domain.xml").write_text(DEFINITION)
    (tmp_path / "out").mkdir()
    return PinningMover(str(root))


def test_the_topmost_file_of_each_disk_at_the_point_is_meant(tmp_path: Path) -> None:
    wanted = action(tmp_path)
    found = parse_exports(state(wanted.path), wanted)
    assert [(one.disk, one.source, one.format) for one in found] == [
        ("vda", f"{wanted.path}/vda/rp-000002.qcow2", "qcow2"),
        ("vdb", f"{wanted.path}/vdb/base-000001.raw", "raw")]


def test_a_point_that_went_meanwhile_is_refused(tmp_path: Path) -> None:
    wanted = action(tmp_path, 9)
    with pytest.raises(Refused, match="restore point 9 of sql is not on milan-1 any more"):
        parse_exports(state(wanted.path), wanted)


@needs_qemu
def test_each_disk_is_one_file_that_needs_no_other(mover: PinningMover, tmp_path: Path) -> None:
    said = asyncio.run(export(mover, action(tmp_path)))
    assert "sql-000002-vda.qcow2 (1MiB)" in said
    before = bytes([1]) * (1 << 20)
    for disk, data in (("vda", before[:1 << 16] + bytes([9]) * (1 << 16) + before[1 << 17:]),
                       ("vdb", bytes([2]) * (1 << 20))):
        file = tmp_path / f"out/sql-000002-{disk}.qcow2"
        assert "backing file" not in tool("qemu-img", "info", file)
        (tmp_path / "flat").write_bytes(data)
        assert "identical" in tool("qemu-img", "compare", "-F", "raw", file, tmp_path / "flat")
        assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "out/sql-000002.xml").read_text() == DEFINITION
    assert "; not in it: disk vdc /d/vdc.qcow2 (it was left out), " in said
    assert mover.pins == {}


@needs_qemu
def test_nothing_is_overwritten_and_the_pin_goes(mover: PinningMover, tmp_path: Path) -> None:
    taken = tmp_path / "out/sql-000002-vda.qcow2"
    taken.write_text("precious")
    with pytest.raises(Refused, match="is there already and is never overwritten"):
        asyncio.run(export(mover, action(tmp_path)))
    assert taken.read_text() == "precious"
    assert mover.pins == {}


@needs_qemu
def test_a_folder_that_is_not_there_is_named(mover: PinningMover, tmp_path: Path) -> None:
    (tmp_path / "out").rmdir()
    with pytest.raises(Refused, match="milan-1 has no folder for .*: make it there"):
        asyncio.run(export(mover, action(tmp_path)))


@needs_qemu
def test_an_unreadable_disk_leaves_no_part(mover: PinningMover, tmp_path: Path) -> None:
    (tmp_path / "replica/vda/base-000001.raw").unlink()
    with pytest.raises(Refused, match="was not exported"):
        asyncio.run(export(mover, action(tmp_path)))
    assert list((tmp_path / "out").iterdir()) == []
    assert mover.pins == {}


@needs_qemu
def test_a_folder_must_be_a_whole_path(mover: PinningMover, tmp_path: Path) -> None:
    wanted = ExportPoint(target="Replica/sql", node="milan-1", reason="", path="/x", machine="sql",
                         sequence=2, folder="out")
    with pytest.raises(Refused, match="is not a path from / on milan-1"):
        asyncio.run(export(mover, wanted))
    assert mover.asked == []
