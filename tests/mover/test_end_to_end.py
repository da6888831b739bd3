"""Both ends together: a disk behind a real export becomes restore points, as on two hosts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from mover.replica.replica import Replica

from tests.mover import disks
from tests.mover.disks import archive, exported, image, needs_qemu, tool, written
from tests.mover.transfers import ATTEMPT, ask, paths_of

__all__ = ["archive"]
pytestmark = needs_qemu
SIZE = 48 << 20
SECRET = disks.SECRET


def carry(archive: Path, root: Path, streams: int, **request: Any) -> dict[str, Any]:
    """Send what a request asks for into a replica, over so many receivers."""
    to = {"argv": [sys.executable, str(archive), "receive", str(root)], "count": streams}
    sent = disks.send(archive, [], to=to, attempt=ATTEMPT, algorithm="xxh3-128", **request)
    assert sent.status == 0, sent.error
    assert len(sent.result["answers"]) == streams
    return sent.result


def done(verb: str, folder: Path, **request: Any) -> dict[str, Any]:
    """Run a verb that must succeed."""
    status, told = ask(verb, request, folder)
    assert status == 0, told
    return told


def opened(root: Path, folder: Path, kind: str) -> dict[str, Any]:
    """Open what will come for the one disk."""
    return done("incoming-open", folder, replica=str(root), attempt=ATTEMPT,
                disks={"vda": {"kind": kind, "size_bytes": SIZE}})


def awaiting(folder: Path) -> tuple[Path, Path]:
    """Return an empty replica that waits for its base, and the disk that it is of."""
    root = folder / "replica"
    disk = image(folder / "d.qcow2", SIZE, "write -P 7 1M 9M", "write -P 9 33M 3M")
    done("replica-make", folder, replica=str(root), vm="a-vm", secret=SECRET)
    opened(root, folder, "base")
    return root, disk


def fetched(archive: Path, root: Path, folder: Path, **which: Any) -> None:
    """Bring a manifest of what the replica has to `folder`/known."""
    (folder / "ask").write_text(json.dumps({"replica": str(root), "disk": "vda", **which}) + "\n")
    with (folder / "ask").open("rb") as request:
        wire = subprocess.run([sys.executable, archive, "manifest-out"], stdin=request,
                              capture_output=True, check=True).stdout
    subprocess.run([sys.executable, archive, "manifest-in", folder / "known", "9999999"],
                   input=wire, capture_output=True, check=True)


def identical(root: Path, sequence: int, disk: Path) -> None:
    """Hold the newest file of a replica and the disk equal, in the eyes of QEMU."""
    top = paths_of(Replica(str(root)), "vda", sequence)[-1]
    form = "qcow2" if top.endswith(".qcow2") else "raw"
    assert "identical" in tool("qemu-img", "compare", "-f", form, "-F", "qcow2", top, disk)


def test_seed_increment_and_scan_make_points_equal_to_the_disk(
        tmp_path: Path, archive: Path) -> None:
    root, disk = awaiting(tmp_path)
    tool("qemu-img", "bitmap", "--add", disk, "cp1")
    with exported(disk, tmp_path / "s1") as socket:
        carry(archive, root, 3, socket=socket, mode="seed", transfer="seed")
    done("publish", tmp_path, attempt=ATTEMPT, replica=str(root), sequence=1, checkpoint="cp1",
         disks={"vda": {"transfers": ["seed"]}})
    identical(root, 1, disk)

    written(disk, "write -P 3 5M 512k", "discard 34M 1M", "write -P 4 40M 64k")
    opened(root, tmp_path, "overlay")
    with exported(disk, tmp_path / "s2", "--bitmap=cp1") as socket:
        told = carry(archive, root, 2, socket=socket, mode="increment", bitmap="cp1",
                     transfer="inc")
    assert told["data_bytes"] == (512 + 64) << 10
    done("publish", tmp_path, attempt=ATTEMPT, replica=str(root), sequence=2,
         disks={"vda": {"transfers": ["inc"]}})
    identical(root, 2, disk)

    written(disk, "write -P 5 20M 128k")
    opened(root, tmp_path, "overlay")
    fetched(archive, root, tmp_path)
    with exported(disk, tmp_path / "s3") as socket:
        told = carry(archive, root, 1, socket=socket, mode="scan", transfer="scan",
                     known=str(tmp_path / "known"))
    assert told["data_bytes"] == 128 << 10
    done("publish", tmp_path, attempt=ATTEMPT, replica=str(root), sequence=3,
         disks={"vda": {"transfers": ["scan"], "whole": True}})
    identical(root, 3, disk)
    done("retire", tmp_path, replica=str(root), sequences=[1, 2])
    identical(root, 3, disk)
    assert done("verify", tmp_path, replica=str(root), at="now")["damage"] == []
    told = done("replica-show", tmp_path, below=str(tmp_path))["replicas"][str(root)]
    assert [point["sequence"] for point in told["points"]] == [3]
    assert told["points"][0]["verified_at"] == "now"


def test_a_seed_that_was_cut_off_is_completed_by_a_comparison(
        tmp_path: Path, archive: Path) -> None:
    root, disk = awaiting(tmp_path)
    tool("qemu-img", "bitmap", "--add", disk, "cp1")
    with exported(disk, tmp_path / "s1", "--bitmap=cp1") as socket:
        carry(archive, root, 2, socket=socket, mode="increment", bitmap="cp1",
              ranges=[[0, 5 << 20]], transfer="cut")
        assert opened(root, tmp_path, "base")["disks"]["vda"]["resumed"]
        fetched(archive, root, tmp_path, incoming=True)
        told = carry(archive, root, 2, socket=socket, mode="scan", transfer="rest",
                     known=str(tmp_path / "known"))
    assert told["data_bytes"] == 8 << 20
    done("publish", tmp_path, attempt=ATTEMPT, replica=str(root), sequence=1,
         disks={"vda": {"transfers": ["rest"]}})
    identical(root, 1, disk)
