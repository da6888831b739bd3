"""Two sites with a pool each, between which a VM of one disk fails over and comes back."""

import hashlib
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from mover.backup.origins import origin_of
from mover.backup.virsh import Disk
from mover.image.hashing import CLUSTER_BYTES
from mover.image.qcow2 import HOLE, Overlay
from mover.replica.replica import Replica

from tests.mover.disks import SECRET, exported, image, tool, written
from tests.mover.failover.promoting import MARK, VIRSH
from tests.mover.replica.test_remove import UUID
from tests.mover.test_end_to_end import carry, done, fetched
from tests.mover.transfers import ATTEMPT, ask, paths_of

SIZE = 32 << 20
CLUSTERS = SIZE // CLUSTER_BYTES
CHECKPOINT = "hotsite-000001-0a"


def definition(path: Path, epoch: int = 0) -> str:
    """Return the VM's definition with its disk on a file."""
    return (f"<domain type='qemu'><name>sql</name><uuid>{UUID}</uuid><metadata>"
            f"{MARK.format(epoch=epoch, uuid=UUID)}</metadata><devices><disk type='file'>"
            f"<driver name='qemu' type='qcow2'/><source file='{path}'/>"
            "<target dev='vda' bus='virtio'/></disk></devices></domain>")


def write(path: Path, clusters: list[int], pattern: int) -> None:
    """Write whole clusters as the VM's guest would."""
    written(path, *(f"write -P {pattern} {number * CLUSTER_BYTES} 64k" for number in clusters))


def allocated(path: Path) -> set[int]:
    """Return the clusters that an overlay holds itself."""
    with Overlay(str(path)) as overlay:
        return {run.cluster + at for run in overlay.mapped() if run.kind != HOLE
                for at in range(run.clusters)}


def digest(path: Path) -> str:
    """Return the hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Site:
    """One site: a pool, and a libvirt that is played."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pool = folder, folder / "pool"
        self.root = self.pool / "hotsite-replicas" / UUID
        self.root.parent.mkdir(parents=True)

    def done(self, verb: str, **request: Any) -> dict[str, Any]:
        """Run a verb that must succeed."""
        return done(verb, self.folder, **request)

    def promoted(self, sequence: int, epoch: int) -> Path:
        """Make a point the VM; return its overlay."""
        told = self.done("promote", machines=[
            {"replica": str(self.root), "sequence": sequence, "epoch": epoch, "uuid": UUID,
             "machine": "sql"}])["machines"][0]
        assert "promoted" in told, told
        return Path(told["promoted"]["overlays"]["vda"])

    def adopt(self, epoch: int, **more: Any) -> dict[str, Any]:
        """Take back the disks of the VM that is off here."""
        return self.done("adopt", replica=str(self.root), vm=UUID, epoch=epoch, by="jo",
                         at=1000.0, until=2000.0, facts={"machine": "sql"}, secret=SECRET,
                         **more)

    def points(self) -> list[int]:
        """Return the points of the replica."""
        return [point.sequence for point in Replica(str(self.root)).state.points]

    def top(self, sequence: int) -> Path:
        """Return the topmost file of a point."""
        return Path(paths_of(Replica(str(self.root)), "vda", sequence)[-1])

    def sound(self, epoch: int) -> bool:
        """Return whether a scrub of all finds nothing wrong."""
        told = self.done("verify", replica=str(self.root), epoch=epoch, at=1.0)
        assert told["complete"], told
        return not told["damage"]


class Sites:
    """A VM at Paris with a replica at Milan of one point, `N`."""

    def __init__(self, folder: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.archive = folder, archive
        self.paris, self.milan = Site(folder / "paris"), Site(folder / "milan")
        (folder / "bin").mkdir()
        monkeypatch.setenv("PATH", str(folder / "bin"), prepend=":")
        self.dice = random.Random(3)
        self.disk = image(self.paris.pool / "sql.qcow2", SIZE)
        write(self.disk, list(range(CLUSTERS // 2)), 1)
        tool("qemu-img", "bitmap", "--add", self.disk, CHECKPOINT)
        self.play(None)
        self.milan.done("replica-make", replica=str(self.milan.root), vm=UUID, secret=SECRET,
                        facts={"machine": "sql"})
        self.copy(self.disk, self.milan, 1, 0, "seed", checkpoint=CHECKPOINT, facts={
            "origins": {"vda": origin_of(Disk(str(self.disk), "qcow2", "file")).record()}})

    def play(self, xml: str | None, state: str = "shut off (crashed)") -> None:
        """Let libvirt know one domain, or none."""
        virsh = self.folder / "bin/virsh"
        said = {} if xml is None else {"domstate": state, "dumpxml": xml, "domjobinfo": "",
                                       "checkpoint-list": "", "domstats": ""}
        virsh.write_text(VIRSH.format(python=sys.executable, said=said,
                                      asked=str(self.folder / "asked")))
        virsh.chmod(0o755)

    def sampled(self, number: int) -> list[int]:
        """Return some clusters."""
        return sorted(self.dice.sample(range(CLUSTERS), number))

    def copy(self, disk: Path, to: Site, sequence: int, epoch: int, mode: str = "scan",
             **more: Any) -> int:
        """Make a point of a disk at a site; return the bytes that were sent of it."""
        kind = "base" if mode == "seed" else "overlay"
        usual = {"replica": str(to.root), "attempt": ATTEMPT, "epoch": epoch}
        to.done("incoming-open", **usual, disks={"vda": {"kind": kind, "size_bytes": SIZE}})
        known = {}
        if mode == "scan":
            fetched(self.archive, to.root, to.folder)
            known = {"known": str(to.folder / "known")}
        with exported(disk, self.folder / "socket") as socket:
            sent = carry(self.archive, to.root, 2, socket=socket, mode=mode,
                         transfer=f"t{sequence}", **known)
        to.done("publish", **usual, sequence=sequence, disks={
            "vda": {"transfers": [f"t{sequence}"], "compared": True, "whole": True}},
            meta={"domain.xml": {"text": definition(disk, epoch)}}, **more)
        return int(sent["data_bytes"]) + int(sent["zero_bytes"])

    def known(self) -> dict[str, Any]:
        """Return what Milan's replica says of the disk at Paris as of the point, as it is brought.
        """
        fetched(self.archive, self.milan.root, self.folder, point=1)
        [point] = [one for one in Replica(str(self.milan.root)).state.points if one.sequence == 1]
        brought = shutil.copyfile(self.folder / "known", self.folder / "brought")
        return {"vda": {"manifest": str(brought), "checkpoint": point.checkpoint,
                        "origin": point.facts["origins"]["vda"]}}


def same(one: Path, other: Path) -> bool:
    """Return whether QEMU reads the same of two images."""
    forms = ["raw" if path.suffix == ".raw" else "qcow2" for path in (one, other)]
    return "identical" in tool("qemu-img", "compare", "-f", forms[0], "-F", forms[1], one, other)


def refusal(site: Site, verb: str, **request: Any) -> str:
    """Return the sentence with which a verb is refused."""
    status, told = ask(verb, {"replica": str(site.root), **request}, site.folder)
    assert status != 0, told
    return str(told["sentence"])
