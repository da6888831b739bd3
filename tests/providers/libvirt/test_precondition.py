"""An action that relies on a file checks it in the same command: an earlier look is too old."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from controller.errors import Refused
from controller.model.facts import Ownership
from controller.plan.actions.action import Action
from controller.plan.actions.desired import (
    AttachDisk,
    DesiredDisk,
    DesiredDomain,
    DetachDisk,
    GrowDisk,
)
from controller.plan.actions.machine import (
    DefineDomain,
    MigrateDomain,
    PruneDomain,
    ReconfigureDomain,
    RestartDomain,
    ShutDownDomain,
)
from controller.providers.libvirt.hands import LibvirtHands
from controller.transport.base import Reply
from tests.providers.fakes import Local, Scripted, failed, said

MIB = 1 << 20
BASE: dict[str, Any] = {"target": "VirtualMachine/sql", "node": "h", "reason": "r"}
PLAYED = """#!/bin/sh
shift 3
echo "$1" >>FOLDER/asked
case $1 in
    dumpxml) [ -s FOLDER/state ] || { echo "error: failed to get domain 'sql'" >&2; exit 1; }
        cat FOLDER/sql.xml;;
    domstate) cat FOLDER/state;;
    domblkinfo) echo 'Capacity: 1024';;
    domid) echo -;;
    detach-device) grep -v vda FOLDER/sql.xml >FOLDER/less; mv FOLDER/less FOLDER/sql.xml;;
    dominfo) echo 'Persistent: yes';;
    shutdown) echo 'shut off' >FOLDER/state;;
esac
"""
XML = """<domain type='qemu'><name>sql</name><memory unit='MiB'>64</memory><vcpu>1</vcpu><devices>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='FOLDER/vda.raw'/>
<target dev='vda' bus='virtio'/></disk>
<disk type='file' device='cdrom'><source file='FOLDER/gone.iso'/><target dev='sda'/><readonly/>
</disk></devices></domain>"""


def disk(folder: Path, target: str) -> DesiredDisk:
    """A raw disk in a file of the folder."""
    return DesiredDisk(target, "default", f"{folder}/{target}.raw", "raw", MIB)


def defining(folder: Path) -> Action:
    return DefineDomain(**BASE, desired=DesiredDomain("sql", "6b7c5d1e-0000-4000-8000-000000000001",
                        64 * MIB, 1, (disk(folder, "vda"),), (), Ownership("lab", "keep"),
                        "<domain/>"))


def plugging(folder: Path) -> Action:
    return ReconfigureDomain(**BASE, domain="sql", live=True,
                             changes=(AttachDisk(disk(folder, "vdb")),))


def growing(folder: Path) -> Action:
    return ReconfigureDomain(**BASE, domain="sql", live=True,
                             changes=(GrowDisk("vda", f"{folder}/vda.raw", 2 * MIB),))


def unplugging(_folder: Path) -> Action:
    return PruneDomain(**BASE, domain="sql", live=True, changes=(DetachDisk("vda"),))


def shutting_down(_folder: Path) -> Action:
    return ShutDownDomain(**BASE, domain="sql", limit_s=30)


def restarting(_folder: Path) -> Action:
    return RestartDomain(**BASE, domain="sql", limit_s=30)


CASES = [(defining, "", "vda", "define"), (plugging, "running", "vdb", "attach-device"),
         (plugging, "shut off", "vdb", "define"), (growing, "running", "vda", "blockresize"),
         (unplugging, "running", "vda", "detach-device"),
         (shutting_down, "running", "vda", "shutdown"),
         (restarting, "running", "vda", "shutdown")]


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize(("make", "state", "file", "verb"), CASES)
def test_what_stands_on_a_file_is_done_where_it_is_and_not_where_it_is_gone(
        tmp_path: Path, make: Any, state: str, file: str, verb: str, there: bool) -> None:
    played = tmp_path / "bin/virsh"
    played.parent.mkdir()
    played.write_text(PLAYED.replace("FOLDER", str(tmp_path)))
    played.chmod(0o755)
    (tmp_path / "sql.xml").write_text(XML.replace("FOLDER", str(tmp_path)))
    (tmp_path / "state").write_text(state)
    for one in ("vda", "vdb"):
        if there or one != file:
            (tmp_path / f"{one}.raw").write_bytes(bytes(1024))
    hands = LibvirtHands(Local({"PATH": f"{played.parent}:/usr/sbin:/usr/bin:/bin"}))
    if there:
        asyncio.run(hands.apply(make(tmp_path)))
    else:
        with pytest.raises(Refused, match=f"{file}.raw (is not there any more|was deleted)"):
            asyncio.run(hands.apply(make(tmp_path)))
    assert (verb in (tmp_path / "asked").read_text().split()) is there


MOVE = MigrateDomain(**BASE, domain="sql", to="far", to_address="10.0.0.2",
                     to_replication_address="10.0.1.2", with_storage=False,
                     disks=(DesiredDisk("vda", "san", "/san/vda.raw", "raw", MIB),))
OFFERED = XML.replace("FOLDER", "/san")


def offered(here: str, far: str) -> tuple[tuple[str, Reply], ...]:
    """All that is asked before a move without disks begins."""
    return (("h: domstate", said("running\n")),
            ("far: domstate", failed("error: failed to get domain 'sql'\n")),
            ("h: domjobinfo", said("Job type:  None\n")), ("h: --migratable", said(OFFERED)),
            ("h: --inactive", said(OFFERED)), ("h: stat /san/vda.raw", said(here)),
            ("far: stat /san/vda.raw", said(far)))


def test_a_domain_goes_without_its_disks_only_where_they_are_the_same() -> None:
    arrived = (("h: migrate", said()), ("h: domstate", failed("error: failed to get domain 'sql'")),
               ("far: domstate", said("running\n")))
    transport = Scripted(*offered("77\n", "77\n"), *arrived)
    assert "moved sql" in asyncio.run(LibvirtHands(transport).apply(MOVE))


@pytest.mark.parametrize(("here", "far", "why"), [
    ("77\n", "\n", "/san/vda.raw is not there: mount the pool"),
    ("77\n", "78\n", "is another file than /san/vda.raw on h"),
    ("\n", "77\n", "/san/vda.raw is not on h any more")])
def test_a_domain_does_not_go_where_its_disks_are_not(here: str, far: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        asyncio.run(LibvirtHands(Scripted(*offered(here, far))).apply(MOVE))
