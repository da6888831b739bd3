"""A pool with a VM's replica, on a host whose libvirt is played, and its promotion."""

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest
from mover.image.hashing import CLUSTER_BYTES
from mover.replica.replica import Replica, locked

from tests.mover.replica.test_remove import UUID, asked, moved
from tests.mover.transfers import Machine

MARK = ("<hotsite:vm xmlns:hotsite='https://hotsite.invalid/domain/1' estate='lab' deletion='keep'"
        " name='sql' role='production' epoch='{epoch}' uuid='{uuid}'/>")
DISK = ("<disk type='file' device='disk'><driver name='qemu' type='{form}' cache='none'/>"
        "<source file='/paris/{target}.img' index='3'/><backingStore/>"
        "<target dev='{target}' bus='virtio'/></disk>")
VIRSH = """#!{python}
import re, sys
from pathlib import Path
Path({asked!r}).open("a").write(sys.argv[-1] + "\\n")
said = {said!r}
asked = re.split("; echo (@@[0-9a-f]+@@)(?:; )?", sys.argv[-1])
for question, mark in zip(asked[::2], asked[1::2]):
    word = question.split()[0]
    if word not in said:
        sys.stderr.write("error: failed to get domain '%s'\\n" % question.split()[-1])
    sys.stdout.write(said.get(word, "") + "\\n" + mark + "\\n")
"""


def definition(disks: tuple[str, ...] = ("vda", "vdb"), *, epoch: int = 0, more: str = "",
               nvram: str = "", uuid: str = UUID) -> str:
    """Return a domain's XML."""
    return (f"<domain type='qemu'><name>sql</name><uuid>{uuid}</uuid>"
            f"<metadata>{MARK.format(epoch=epoch, uuid=uuid)}</metadata><os>"
            f"<type arch='x86_64' machine='pc-q35-7.2'>hvm</type>{nvram}</os><devices>"
            + "".join(DISK.format(target=disk, form="qcow2") for disk in disks) + more
            + "<interface type='bridge'><mac address='52:54:00:0a:02:15'/></interface>"
              "</devices></domain>")


class Pool:
    """A pool whose host plays libvirt; `machine` is the VM whose replica lies in it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, cycles: int = 3) -> None:
        self.folder, self.pool = folder, folder / "pool"
        machine = Machine(folder / "made", {"vda": 2 << 20, "vdb": 1 << 20})
        for _ in range(cycles):
            machine.cycle(8)
        self.machine = moved(machine, self.pool / "hotsite-replicas" / UUID)
        (folder / "bin").mkdir()
        monkeypatch.setenv("PATH", str(folder / "bin"), prepend=":")
        self.libvirt()
        with locked(str(self.machine.root)) as replica:
            replica.commit(replica.state._replace(vm=UUID))
        for point in Replica(str(machine.root)).state.points:
            self.define(point.sequence, definition())

    def libvirt(self, **said: str) -> None:
        """Let virsh say this to each command; to others, that there is no such domain."""
        virsh = self.folder / "bin/virsh"
        virsh.write_text(VIRSH.format(python=sys.executable, said=said,
                                      asked=str(self.folder / "asked")))
        virsh.chmod(0o755)

    def define(self, sequence: int, xml: str, **meta: bytes) -> None:
        """Put another definition into a point."""
        folder = self.machine.root / "meta" / f"{sequence:06d}"
        (folder / "domain.xml").write_text(xml)
        for name, data in meta.items():
            (folder / name).write_bytes(data)
        with locked(str(self.machine.root)) as replica:
            replica.commit(replica.state._replace(points=tuple(
                point._replace(meta=("domain.xml", *meta)) if point.sequence == sequence else point
                for point in replica.state.points)))

    def promote(self, sequence: int = 3, epoch: int = 7, **more: Any) -> dict[str, Any]:
        """Ask for one promotion and return its answer."""
        status, told = asked(self.machine, "promote", machines=[
            {"replica": str(self.machine.root), "sequence": sequence, "epoch": epoch,
             "uuid": UUID, "machine": "sql", **more}])
        assert status == 0, told
        return dict(told["machines"][0])

    def promoted(self, sequence: int = 3, epoch: int = 7, **more: Any) -> dict[str, Any]:
        """Promote, which must succeed."""
        told = self.promote(sequence, epoch, **more)
        assert "promoted" in told, told
        return dict(told["promoted"])

    def refusal(self, sequence: int = 3, epoch: int = 7, **more: Any) -> str:
        """Return the sentence with which a promotion is refused, or is to be tried again."""
        told = self.promote(sequence, epoch, **more)
        assert "failed" in told, told
        return str(told["failed"]["sentence"])

    def hashes(self) -> dict[str, str]:
        """Return the hash of each file that a point reads."""
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in sorted(self.machine.root.rglob("*"))
                if path.suffix in {".raw", ".qcow2", ".man"}}


def cluster(number: int) -> int:
    """Return where a cluster begins."""
    return number * CLUSTER_BYTES
