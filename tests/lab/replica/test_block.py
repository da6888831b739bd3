"""A guest whose disks are block devices: copied while it runs and at rest, grown, promoted."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import suppress

import pytest

from controller.errors import ActionError
from controller.plan.actions.promotion import AdoptDisks, PromoteReplica
from controller.plan.actions.replica import CopyMode, DiskCopy
from tests.lab.lab import Lab, render_guest, wait_until
from tests.lab.replica.replication import MIB, Replication
from tests.lab.witness import IMAGES

VM, HOME, TO = "blocks", "paris-1", "milan-1"
SIZE = 64 * MIB
BEHIND = f"{IMAGES}/{VM}.img"
MAKE = f"""truncate -s {SIZE} {BEHIND}
[ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237
for n in 20 21 22 23 24 25 26 27; do
  [ -e /dev/loop$n ] || mknod /dev/loop$n b 7 $n
  losetup /dev/loop$n {BEHIND} 2>/dev/null && exec echo /dev/loop$n
done
exit 1"""
CLEAR = f"""virsh -q destroy {VM}; virsh -q undefine --checkpoints-metadata {VM}
losetup -j {BEHIND} | cut -d: -f1 | xargs -r -n1 losetup -d
rm -f {BEHIND} {IMAGES}/{VM}*.fo-*"""
CONTENT = """qemu-img convert -U -f "$1" -O raw "$2" /var/lib/libvirt/images/content.raw
sha256sum </var/lib/libvirt/images/content.raw
rm /var/lib/libvirt/images/content.raw"""


def render(device: str) -> str:
    """Return the guest's definition."""
    domain = ElementTree.fromstring(
        render_guest(VM, "52:54:00:99:97:01", 951, device, "raw", system=False))
    disk = domain.find("devices/disk")
    assert disk is not None
    disk.set("type", "block")
    source = disk.find("source")
    assert source is not None
    source.attrib = {"dev": device}
    return ElementTree.tostring(domain, encoding="unicode")


def clear(lab: Lab) -> None:
    """Leave nothing of it on either host."""
    for host in (HOME, TO):
        with suppress(AssertionError):
            lab.exec(host, "sh", "-c", CLEAR)


@pytest.fixture(name="blocks")
def blocks_fixture(lab: Lab) -> Iterator[Replication]:
    """A running guest on a block device of its host."""
    clear(lab)
    device = lab.exec(HOME, "sh", "-c", MAKE).strip()
    lab.exec(HOME, "virsh", "-q", "define", "/dev/stdin", text=render(device))
    lab.virsh(HOME, "start", VM)
    replication = Replication(lab, VM, HOME, TO, SIZE)
    replication.disks = {"vda": DiskCopy("vda", device, "raw", SIZE, CopyMode.INCREMENT)}
    lab.exec(TO, "rm", "-rf", replication.path)
    try:
        yield replication
    finally:
        clear(lab)
        for host in (HOME, TO):
            lab.exec(host, "rm", "-rf", replication.path)


def content(blocks: Replication, host: str, form: str, image: str) -> str:
    """Return the hash of what QEMU reads from an image."""
    return blocks.lab.exec(host, "sh", "-ec", CONTENT, "sh", form, image)


def at_target(blocks: Replication) -> str:
    """Return the hash of the newest point."""
    top = blocks.newest()
    return content(blocks, blocks.to, "raw" if top.suffix == ".raw" else "qcow2",
                   f"{blocks.path}/vda/{top.name}")


def sent_mib(said: str) -> float:
    """Return how much a comparison sent."""
    found = re.search(r"sent ([0-9.]+)(KiB|MiB) that differed", said)
    assert found is not None, said
    return float(found[1]) / (1024 if found[2] == "KiB" else 1)


def end(blocks: Replication) -> None:
    """Shut the guest down."""
    blocks.lab.virsh(blocks.home, "shutdown", VM)
    wait_until("its end", lambda: "shut off" in blocks.lab.virsh(blocks.home, "domstate", VM), 60)


def test_it_is_copied_while_it_runs_and_at_rest_grows_and_is_never_taken_for_empty(
        blocks: Replication) -> None:
    blocks.cycle()
    blocks.write(20, 2)
    assert 2 <= sent_mib(blocks.cycle()) < 4, "what differs, and a record here and there"
    end(blocks)
    said = blocks.cycle()
    device = blocks.disks["vda"].source
    assert "at rest" in said
    assert at_target(blocks) == content(blocks, HOME, "raw", device)
    blocks.lab.exec(HOME, "sh", "-c", f"truncate -s {SIZE + 4 * MIB} {BEHIND}; losetup -c {device}")
    blocks.cycle()
    assert at_target(blocks) == content(blocks, HOME, "raw", device)
    before = blocks.contents()
    blocks.lab.exec(HOME, "losetup", "-d", device)
    with pytest.raises(ActionError, match="nothing is behind"):
        blocks.cycle()
    assert blocks.contents() == before
    blocks.leaves_nothing_behind()


def test_it_comes_back_as_a_file_and_is_copied_to_its_old_host_whole(blocks: Replication) -> None:
    blocks.cycle()
    blocks.lab.virsh(HOME, "destroy", VM)
    said = blocks.apply(PromoteReplica(
        target=f"VirtualMachine/{VM}", node=TO, reason="its site is lost", uuid=blocks.uuid,
        path=blocks.path, sequence=1, epoch=7, estate="lab"))
    assert "was promoted on milan-1 and started" in said
    overlay = f"{IMAGES}/{VM}.fo-7.qcow2"
    disk = ElementTree.fromstring(blocks.lab.virsh(TO, "dumpxml", VM)).find("devices/disk")
    assert disk is not None
    assert (disk.get("type"), disk.find("source").get("file")) == ("file", overlay)
    back = Replication(blocks.lab, VM, TO, HOME, SIZE)
    back.disks = {"vda": DiskCopy("vda", overlay, "qcow2", SIZE, CopyMode.SEED)}
    said = back.apply(AdoptDisks(
        target=f"Replica/{VM}", node=HOME, reason="its site is back", uuid=blocks.uuid,
        path=back.path, epoch=7, estate="lab", by="a test"))
    assert "anybody may write without a trace" in said
    back.cycle()
    back.write(30, 1)
    end(back)
    assert "changed" in back.cycle()
    assert at_target(back) == content(back, TO, "qcow2", overlay)
