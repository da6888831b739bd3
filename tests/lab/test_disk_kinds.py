"""What libvirt and QEMU really do with each kind of disk: copy, leave out, move, refuse."""

import asyncio
import uuid
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

import pytest

from controller.errors import Refused
from controller.plan.actions.desired import DesiredDisk
from controller.plan.actions.machine import MigrateDomain
from controller.plan.actions.replica import CopyMode, DiskCopy
from controller.providers.libvirt.hands import LibvirtHands
from controller.transport.ssh import SshTransport
from tests.lab.lab import STATE, Lab, render_guest
from tests.lab.replica.replication import MIB, Replication, endpoints
from tests.lab.witness import IMAGES

FOLDER = f"{IMAGES}/kinds"
SECRET = "7d4f8f0e-6d2c-4f0e-9d53-0c5a2f7e9b11"
CLEAR = "nobody may read this in the clear"
CREATE = f"""
set -e
mkdir -p {FOLDER}; cd {FOLDER}
printf '%s\\n' '{CLEAR}' >/tmp/clear; head -c 512 /dev/zero | tr '\\0' p >/tmp/plain
for disk in vda vdd vdg; do qemu-img create -q -f qcow2 odd-$disk.qcow2 16M; done
qemu-img create -q -f qcow2 -o compat=0.10 odd-vdb.qcow2 16M
for disk in vdc vdf; do qemu-img create -q -f raw odd-$disk.raw 16M; done
for disk in vda vdb vdg; do qemu-io -f qcow2 -c 'write -s /tmp/plain 0 1M' odd-$disk.qcow2; done
secret='secret,id=s,data=key'
for try in 1 2 3 4 5 6 7 8; do  # it measures the processor, which may be busy
    qemu-img create -q -f qcow2 --object $secret \\
        -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 odd-vde.qcow2 16M && break
done
qemu-io --object $secret -c 'write -s /tmp/clear 0 1M' \\
    --image-opts driver=qcow2,encrypt.key-secret=s,file.filename=odd-vde.qcow2
cat >/tmp/secret.xml <<X
<secret ephemeral='no' private='no'><uuid>{SECRET}</uuid></secret>
X
virsh -q secret-define /tmp/secret.xml
virsh -q secret-set-value {SECRET} --base64 $(printf key | base64)
virsh -q pool-define-as kinds dir --target {FOLDER}
virsh -q pool-start kinds
"""
CLEAN = f"""
for vm in odd roam; do
    virsh -q destroy $vm
    for name in $(virsh -q checkpoint-list $vm --name); do
        virsh -q checkpoint-delete $vm $name --metadata
    done
    virsh -q undefine $vm
done
virsh -q pool-destroy kinds; virsh -q pool-undefine kinds; virsh -q secret-undefine {SECRET}
rm -rf {FOLDER} {IMAGES}/roam-*
true
"""
KEY = f"<encryption format='luks'><secret type='passphrase' uuid='{SECRET}'/></encryption>"
DISKS = {
    "vdb": ("file", f"<source file='{FOLDER}/odd-vdb.qcow2'/>", "qcow2"),
    "vdc": ("file", f"<source file='{FOLDER}/odd-vdc.raw'/><readonly/>", "raw"),
    "vdd": ("file", f"<source file='{FOLDER}/odd-vdd.qcow2'/><transient/>", "qcow2"),
    "vde": ("file", f"<source file='{FOLDER}/odd-vde.qcow2'>{KEY}</source>", "qcow2"),
    "vdf": ("file", f"<source file='{FOLDER}/odd-vdf.raw'/><shareable/>", "raw"),
    "vdg": ("volume", "<source pool='kinds' volume='odd-vdg.qcow2'/>", "qcow2"),
}


def render(name: str, disk: str, more: str) -> str:
    """Return a guest that boots nothing and is plugged in nowhere: it only runs and owns disks."""
    domain = ElementTree.fromstring(render_guest(name, "52:54:00:99:98:01", 999, disk, "qcow2"))
    os, devices = domain.find("os"), domain.find("devices")
    assert os is not None
    assert devices is not None
    for tag in ("kernel", "initrd", "cmdline"):
        for element in os.findall(tag):
            os.remove(element)
    for element in devices.findall("interface"):
        devices.remove(element)
    devices.extend(ElementTree.fromstring(f"<devices>{more}</devices>"))
    return ElementTree.tostring(domain, encoding="unicode")


def run(lab: Lab, host: str, text: str) -> None:
    """Define a guest and start it."""
    lab.exec(host, "sh", "-c", "cat >/tmp/kind.xml", text=text)
    lab.virsh(host, "define", "/tmp/kind.xml")
    lab.virsh(host, "start", ElementTree.fromstring(text).findtext("name", ""))


@pytest.fixture(scope="module")
def kinds(lab: Lab) -> Iterator[Lab]:
    """A lab whose first host has images of every kind, and a key for one of them."""
    for host in ("paris-1", "paris-2"):
        lab.exec(host, "sh", "-c", f"({CLEAN}) >/dev/null 2>&1")
    lab.exec("paris-1", "sh", "-c", CREATE)
    yield lab
    for host in ("paris-1", "paris-2"):
        lab.exec(host, "sh", "-c", f"({CLEAN}) >/dev/null 2>&1")


@pytest.fixture(scope="module")
def odd(kinds: Lab) -> Iterator[Replication]:
    """A running guest with a disk of each kind, all of which it is ordered to copy."""
    run(kinds, "paris-1", render("odd", f"{FOLDER}/odd-vda.qcow2", "".join(
        f"<disk type='{kind}' device='disk'><driver name='qemu' type='{form}'/>{inner}"
        f"<target dev='{target}' bus='virtio'/></disk>"
        for target, (kind, inner, form) in DISKS.items())))
    replication = Replication(kinds, "odd", "paris-1", "milan-1", 16 * MIB)
    replication.disks = {"vda": DiskCopy("vda", f"{FOLDER}/odd-vda.qcow2", "qcow2", 16 * MIB,
                                         CopyMode.SEED)} | {
        target: DiskCopy(target, f"{FOLDER}/odd-{target}.{form}", form, 16 * MIB, CopyMode.SEED,
                         qcow2_version=2 if target == "vdb" else 3)
        for target, (_, _, form) in DISKS.items()}
    kinds.exec("milan-1", "rm", "-rf", replication.path)
    yield replication
    kinds.exec("milan-1", "rm", "-rf", replication.path)


def has_clear_text(lab: Lab, host: str) -> bool:
    """Say whether what is encrypted lies anywhere where a copy could have put it."""
    return bool(lab.exec(host, "sh", "-c", f"grep -rlF '{CLEAR}' {IMAGES} /run/hotsite || true"))


def holds(replication: Replication, said: str) -> None:
    """Hold that the newest point has what can be copied, and that all else is named."""
    point = replication.state()["points"][-1]
    assert set(point["files"]) == {"vda", "vdb", "vdg"}
    for target, why in (("vdc", "read-only"), ("vdd", "gone when its VM stops"),
                        ("vde", "encrypted"), ("vdf", "other VMs may write to it")):
        assert f"disk {target} (" in said
        assert any(target in words and why in words for words in point["facts"]["without"])
    assert not any(has_clear_text(replication.lab, host) for host in ("paris-1", "milan-1"))


def test_a_running_guest_is_copied_without_what_cannot_be(odd: Replication) -> None:
    said = odd.cycle()
    holds(odd, said)
    assert odd.checkpoints()
    again = odd.cycle()
    holds(odd, again)
    assert "vdb: its changes are not tracked: read" in again
    assert "vda:" not in again  # nothing has changed, and its bitmap says so


def test_at_rest_the_same_disks_are_copied(odd: Replication) -> None:
    odd.lab.virsh("paris-1", "destroy", "odd")
    said = odd.cycle()
    assert ", crash-consistent" in said   # nobody shut it down
    holds(odd, said)


def test_what_is_encrypted_by_its_header_alone_is_not_opened(odd: Replication) -> None:
    text = odd.lab.virsh("paris-1", "dumpxml", "--inactive", "odd").replace(KEY, "")
    domain = ElementTree.fromstring(text)
    for element in domain.iter("source"):
        for key in element.findall("encryption"):
            element.remove(key)
    odd.lab.exec("paris-1", "sh", "-c", "cat >/tmp/kind.xml",
                 text=ElementTree.tostring(domain, encoding="unicode"))
    odd.lab.virsh("paris-1", "define", "/tmp/kind.xml")
    holds(odd, odd.cycle())


def move(lab: Lab, disks: tuple[str, ...], media: tuple[str, ...] = ()) -> str:
    """Move `roam` from paris-1 to paris-2 as the program would."""
    async def whole() -> str:
        transport = SshTransport()
        transport.declare(endpoints())
        try:
            return await LibvirtHands(transport).apply(MigrateDomain(
                target="VirtualMachine/roam", node="paris-1", reason="test", domain="roam",
                to="paris-2", to_address="10.77.0.12", to_replication_address="10.78.0.12",
                with_storage=True, media=media, disks=tuple(
                    DesiredDisk(target, "default", f"{IMAGES}/roam-{target}.qcow2", "qcow2",
                                16 * MIB)
                    for target in disks)))
        finally:
            await transport.close()
    return asyncio.run(whole())


def files(lab: Lab, host: str) -> list[str]:
    return lab.exec(host, "sh", "-c", f"ls {IMAGES} | grep roam || true").split()


def disk(target: str, source: str, *more: str, form: str = "qcow2", device: str = "disk") -> str:
    return (f"<disk type='file' device='{device}'><driver name='qemu' type='{form}'/>"
            f"<source file='{source}'/>{''.join(more)}"
            f"<target dev='{target}' bus='{'virtio' if device == 'disk' else 'ide'}'/></disk>")


def test_a_guest_with_layers_and_a_medium_arrives_whole_or_stays(kinds: Lab) -> None:
    lab, iso, mark = kinds, f"{IMAGES}/roam-config.iso", uuid.uuid4().hex
    lab.exec("paris-1", "sh", "-c", f"""set -e; cd {IMAGES}
        qemu-img create -q -f qcow2 kinds/roam-base.qcow2 16M
        printf %s {mark} >/tmp/mark; printf %s {mark} >{iso}
        qemu-io -f qcow2 -c 'write -s /tmp/mark 0 512' kinds/roam-base.qcow2
        qemu-img create -q -f qcow2 -b kinds/roam-base.qcow2 -F qcow2 roam-vda.qcow2
        qemu-img create -q -f raw roam-vdb.raw 1M""")
    read_only = disk("vdb", f"{IMAGES}/roam-vdb.raw", "<readonly/>", form="raw")
    medium = disk("hda", iso, "<readonly/>", form="raw", device="cdrom")
    run(lab, "paris-1", render("roam", f"{IMAGES}/roam-vda.qcow2", read_only + medium))
    with pytest.raises(Refused, match=r"disk vdb .*: it is read-only"):
        move(lab, ("vda", "vdb"), (iso,))
    assert files(lab, "paris-2") == []
    lab.virsh("paris-1", "destroy", "roam")
    lab.virsh("paris-1", "undefine", "roam")
    run(lab, "paris-1", render("roam", f"{IMAGES}/roam-vda.qcow2", medium))
    lab.exec("paris-2", "sh", "-c", f"printf other >{iso}")
    with pytest.raises(Refused, match="is another file there"):
        move(lab, ("vda",), (iso,))
    assert files(lab, "paris-2") == ["roam-config.iso"]
    lab.exec("paris-2", "rm", iso)
    lab.exec("paris-1", "truncate", "-s", "65M", iso)
    with pytest.raises(Refused, match="is too large to be brought along"):
        move(lab, ("vda",), (iso,))
    assert files(lab, "paris-2") == []
    lab.exec("paris-1", "truncate", "-s", str(len(mark)), iso)
    assert "moved roam with its disks" in move(lab, ("vda",), (iso,))
    assert lab.exec("paris-2", "cat", iso) == mark
    for flag in ((), ("--inactive",)):
        text = lab.virsh("paris-2", "dumpxml", *flag, "roam")
        assert "roam-base" not in text
        assert f"file='{IMAGES}/roam-vda.qcow2'" in text
    content = (STATE / "nodes/paris-2/disk/images/roam-vda.qcow2").read_bytes()
    assert mark.encode() in content
