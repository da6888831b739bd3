"""What a moving domain's definition says at the destination, and what its hands refuse by name."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from controller.errors import Refused
from controller.plan.wishes import DiskWish
from controller.providers.libvirt.luggage import move_disk
from tests.providers.fakes import failed, said
from tests.providers.libvirt.test_migration import (
    GONE,
    LEAVE,
    LOOK,
    PATH,
    ROOM,
    SAME_PATHS,
    XML,
    action,
    drive,
    ends,
)

WISH = DiskWish("vda", "default", PATH, "qcow2", 999)
SECOND = ("<disk type='{}' device='{}'><driver name='qemu' type='raw'/>{}<target dev='vdb'/></disk>"
          "</devices>")


def both(text: str) -> tuple[tuple[str, object], ...]:
    return ("h1: dumpxml --migratable", said(text)), ("h1: dumpxml --inactive", said(text))


@pytest.mark.parametrize(("kind", "device", "inner"), [
    ("block", "disk", "<source dev='/dev/vg/x'/>"),
    ("block", "lun", "<source dev='/dev/sdx'/>"),
    ("network", "disk", "<source protocol='rbd' name='p/x'/>"),
    ("volume", "disk", "<source pool='default' volume='x'/>"),
    ("nvme", "disk", "<source type='pci' namespace='1'/>"),
    ("vhostuser", "disk", "<source type='unix' path='/s'/>"),
    ("file", "disk", "<source file='/x'/><readonly/>"),
    ("file", "disk", "<source file='/x'/><transient/>"),
    ("file", "disk", "<source file='/x'/><shareable/>"),
    ("file", "disk", "<source file='/x'><encryption format='luks'/></source>"),
    ("file", "disk", "<source file='/x'/><mirror type='file'><source file='/m'/></mirror>"),
])
def test_what_cannot_be_moved_is_refused_and_what_was_made_goes(
        kind: str, device: str, inner: str) -> None:
    text = XML.replace("</devices>", SECOND.format(kind, device, inner))
    wanted = replace(action(), disks=(WISH, replace(WISH, target="vdb", path="/p/sql-vdb.raw")))
    room = (*ROOM, ("h1: domblkinfo -- sql vdb", said("Capacity: 1\n")),
            ("h2: qemu-img info", failed("No such file or directory\n")),
            ("h2: sh -c /p/sql-vdb.raw", said()))
    with pytest.raises(Refused, match="was not moved to h2: disk vdb"):
        drive(wanted, *LOOK, *room, *both(text), ("h2: rm", said()))


def test_a_disk_that_nobody_declared_is_refused_though_it_is_a_file() -> None:
    text = XML.replace("</devices>", SECOND.format("file", "disk", "<source file='/x'/>"))
    with pytest.raises(Refused, match="disk vdb /x is not declared"):
        drive(action(), *LOOK, *ROOM, *both(text), ("h2: rm", said()))


def test_the_disks_that_are_copied_are_named() -> None:
    _, transport = drive(action(), *LOOK, *ROOM, *SAME_PATHS, ("h1: migrate", said()),
                         *ends(GONE, said("running\n")), *LEAVE)
    words = transport.commands[-6][1].argv
    assert words[words.index("--migrate-disks") + 1] == "vda"


def element(inner: str, source: str = f"file='{PATH}'", within: str = "") -> ET.Element:
    return ET.fromstring(
        f"<domain><devices><disk type='file' device='disk'><source {source}>{within}</source>"
        f"{inner}<target dev='vda'/></disk></devices></domain>")


@pytest.mark.parametrize(("inner", "within"), [
    ("<backingStore type='file'><format type='raw'/><source file='/b'/><backingStore/>"
     "</backingStore>", ""),
    ("<mirror type='file'><source file='/m'/></mirror>", ""),
    ("", "<dataStore type='file'><format type='raw'/><source file='/d'/></dataStore>"),
    ("", "<slices><slice type='storage' offset='1' size='2'/></slices>"),
])
def test_nothing_of_the_old_hosts_chain_is_said_at_the_new_one(inner: str, within: str) -> None:
    domain = element(inner, within=within)
    assert move_disk(domain, WISH)
    text = ET.tostring(domain, encoding="unicode")
    assert [word for word in ("backingStore", "mirror", "dataStore", "slices") if word in text
            ] == []
    assert text.count("file=") == 1


def test_a_definition_that_is_right_is_left_as_it_is() -> None:
    domain = element("<backingStore/>", source=f"file='{PATH}' index='1' startupPolicy='optional'")
    assert not move_disk(domain, WISH)


def test_a_medium_is_the_same_file_at_both_ends_or_nothing_moves() -> None:
    wanted = replace(action(), media=("/iso/c.iso",))
    here = ("h1: sha256sum -- /iso/c.iso", said("aa  /iso/c.iso\0"))
    for there, words in ((said("bb  /iso/c.iso\0"), "is another file there"),
                         (failed("No such file or directory\n"), "cannot be read on h2")):
        with pytest.raises(Refused, match=words):
            drive(wanted, *LOOK, *ROOM, *SAME_PATHS, here,
                  ("h2: sha256sum -- /iso/c.iso", there), ("h2: rm", said()))
    told, _ = drive(wanted, *LOOK, *ROOM, *SAME_PATHS, here,
                    ("h2: sha256sum -- /iso/c.iso", said("aa  /iso/c.iso\0")),
                    ("h1: migrate", said()), *ends(GONE, said("running\n")), *LEAVE)
    assert told.startswith("moved sql with its disks")
