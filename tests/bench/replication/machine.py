"""A domain without an operating system: only its disk matters, and QEMU itself writes to it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.replication.content import Change, half_full
from tests.bench.replication.node import Node

IMAGES = "/var/lib/libvirt/images"
XML = """<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
<name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>
<emulator>/usr/bin/qemu-system-x86_64</emulator><controller type='usb' model='none'/>
<memballoon model='none'/><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
<source file='{disk}'/><target dev='vda' bus='virtio'/></disk></devices>
<qemu:override><qemu:device alias='virtio-disk0'><qemu:frontend>
<qemu:property name='share-rw' type='bool' value='true'/>
</qemu:frontend></qemu:device></qemu:override></domain>
"""
"""The disk may be written to beside its guest, which has no system and never writes itself."""


class Machine:
    """A running domain with one disk that is half full."""

    def __init__(self, node: Node, name: str, size_bytes: int) -> None:
        """Make the disk and start the domain."""
        self.node, self.name, self.size_bytes = node, name, size_bytes
        self.disk = f"{IMAGES}/{name}-vda.qcow2"
        make_disk(node, self.disk, size_bytes)
        self.start()

    def start(self) -> None:
        """Define and start the domain."""
        xml = self.node.path(f"/tmp/{self.name}.xml")
        xml.write_text(XML.format(name=self.name, disk=self.disk))
        self.node.virsh("define", f"/tmp/{self.name}.xml")
        self.node.virsh("start", self.name)

    @property
    def uuid(self) -> str:
        """Return the domain's identity."""
        return self.node.virsh("domuuid", self.name).strip()

    @property
    def node_name(self) -> str:
        """Return what QEMU calls the disk now."""
        blocks = self.node.qmp(self.name, "query-block")
        return str(blocks[0]["inserted"]["node-name"])

    def change(self, change: Change, seed: int) -> int:
        """Write a change through QEMU, so that bitmaps see it; return the bytes it makes dirty."""
        clusters = set()
        folder = self.node.path(f"/tmp/{self.name}-pieces")
        folder.mkdir(exist_ok=True)
        commands = []
        for number, (offset, data) in enumerate(change.pieces(self.size_bytes, seed)):
            (folder / str(number)).write_bytes(data)
            commands.append(
                f"write -q -s /tmp/{folder.name}/{number} {offset} {change.piece_bytes}")
            clusters |= set(range(offset >> 16, (offset + change.piece_bytes - 1 >> 16) + 1))
        with self._written_to() as uri:
            said = self.node.run("qemu-io", "-f", "raw", uri, text="\n".join(commands) + "\n")
        assert "failed" not in said.lower(), said
        os.sync()       # what others wrote before is on the disk, whoever is measured next
        return len(clusters) << 16

    @contextmanager
    def _written_to(self) -> Iterator[str]:
        socket = f"/tmp/{self.name}-write.sock"
        ask = self.node.qmp
        ask(self.name, "nbd-server-start", addr={"type": "unix", "data": {"path": socket}})
        try:
            ask(self.name, "block-export-add", **{
                "type": "nbd", "id": "bench", "node-name": self.node_name, "name": "bench",
                "writable": True})
            yield f"nbd+unix:///bench?socket={socket}"
        finally:
            ask(self.name, "nbd-server-stop")
            self.node.path(socket).unlink(missing_ok=True)

    @contextmanager
    def frozen(self) -> Iterator[str]:
        """Keep the disk's file as it is while the block lasts, as a snapshot; writes go beside."""
        beside = f"{IMAGES}/{self.name}-beside.qcow2"
        self.node.virsh("snapshot-create-as", self.name, "bench", "--disk-only", "--no-metadata",
                        "--diskspec", f"vda,file={beside}")
        try:
            yield self.disk
        finally:
            self.node.virsh("blockcommit", self.name, "vda", "--active", "--pivot", "--wait")
            self.node.path(beside).unlink()

    def remove(self) -> None:
        """Destroy the domain and its disk."""
        self.node.virsh("destroy", self.name)
        self.node.virsh("undefine", self.name, "--checkpoints-metadata")
        self.node.remove(self.disk)


def make_disk(node: Node, disk: str, size_bytes: int) -> None:
    """Make a qcow2 disk that is half full."""
    raw = node.path(disk).with_suffix(".raw")
    write_raw(raw, size_bytes)
    node.run("qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2",
             disk.replace(".qcow2", ".raw"), disk)
    node.remove(disk.replace(".qcow2", ".raw"))


def write_raw(path: Path, size_bytes: int) -> None:
    """Write a sparse raw disk that is half full."""
    fd = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    try:
        os.ftruncate(fd, size_bytes)
        for offset, data in half_full(size_bytes, 0):
            os.pwrite(fd, data, offset)
    finally:
        os.close(fd)
