"""What a moving domain's definition says at the destination, and what its hands refuse by name."""

import asyncio
import os
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import ActionError, Refused
from controller.plan.actions.desired import DesiredDisk
from controller.plan.machine.device_support import CARRIED_BYTES
from controller.providers.libvirt.migration.disks import move_disk
from controller.providers.libvirt.migration.media import TAKE, bring_media
from controller.providers.node import Node, script_command
from controller.transport.base import Command, Reply
from tests.providers.fakes import Local, failed, said
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

DESIRED = DesiredDisk("vda", "default", PATH, "qcow2", 999)
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
    second = replace(DESIRED, target="vdb", path="/p/sql-vdb.raw")
    wanted = replace(action(), disks=(DESIRED, second))
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
    assert move_disk(domain, DESIRED)
    text = ET.tostring(domain, encoding="unicode")
    assert [word for word in ("backingStore", "mirror", "dataStore", "slices") if word in text
            ] == []
    assert text.count("file=") == 1


def test_a_definition_that_is_right_is_left_as_it_is() -> None:
    domain = element("<backingStore/>", source=f"file='{PATH}' index='1' startupPolicy='optional'")
    assert not move_disk(domain, DESIRED)


HERE = ("h1: sha256sum -- /iso/c.iso", said("aa  /iso/c.iso\0"))
NOT_THERE = failed("sha256sum: /iso/c.iso: No such file or directory\n")


def test_another_medium_of_that_name_is_left_alone_and_nothing_moves() -> None:
    wanted = replace(action(), media=("/iso/c.iso",))
    for there, words in ((said("bb  /iso/c.iso\0"), "is another file there"),
                         (failed("Permission denied\n"), "cannot be read on h2")):
        with pytest.raises(Refused, match=words):
            drive(wanted, *LOOK, *ROOM, *SAME_PATHS, HERE,
                  ("h2: sha256sum -- /iso/c.iso", there), ("h2: rm", said()))
    told, _ = drive(wanted, *LOOK, *ROOM, *SAME_PATHS, HERE,
                    ("h2: sha256sum -- /iso/c.iso", said("aa  /iso/c.iso\0")),
                    ("h1: migrate", said()), *ends(GONE, said("running\n")), *LEAVE)
    assert told.startswith("moved sql with its disks")


@pytest.mark.parametrize(("sent", "taken", "words"), [
    (failed("", 77), failed(""), "is not there and is too large to be brought along"),
    (said(), failed("", 78), "there is no folder for /iso/c.iso"),
    (said(), failed("No space left on device\n"), "could not be brought: No space left"),
])
def test_a_medium_that_cannot_be_brought_holds_its_vm(sent: Reply, taken: Reply,
                                                      words: str) -> None:
    with pytest.raises(ActionError, match=words):
        drive(replace(action(), media=("/iso/c.iso",)), *LOOK, *ROOM, *SAME_PATHS, HERE,
              ("h2: sha256sum -- /iso/c.iso", NOT_THERE), ("h1: cat /iso/c.iso", sent),
              ("h2: ln /iso/c.iso", taken), ("h2: rm", said()))


class Two(Local):
    """Two hosts with folders of their own on this machine."""

    def __init__(self, folder: Path) -> None:
        super().__init__({"PATH": os.environ["PATH"]})
        self.folder = folder

    async def run(self, node: str, command: Command) -> Reply:
        """Run a command where /iso is the host's own."""
        words = [word.replace("/iso/", f"{self.folder}/{node}/") for word in command.argv]
        return await super().run(node, replace(command, argv=tuple(words)))


def test_a_small_medium_is_brought_whole_and_over_nobodys_file(tmp_path: Path) -> None:
    for name in ("h1", "h2"):
        (tmp_path / name).mkdir()
    two = Two(tmp_path)

    def bring() -> None:
        asyncio.run(bring_media(Node(two, "h1"), Node(two, "h2"), ("/iso/c.iso",), "not moved"))

    with pytest.raises(Refused, match="is not on h1: eject it"):
        bring()
    (tmp_path / "h1/c.iso").write_text("config")
    bring()
    bring()
    assert [path.name for path in (tmp_path / "h2").iterdir()] == ["c.iso"]
    assert (tmp_path / "h2/c.iso").read_text() == "config"
    (tmp_path / "h2/c.iso").write_text("of somebody else")
    with pytest.raises(Refused, match="is another file there"):
        bring()
    assert (tmp_path / "h2/c.iso").read_text() == "of somebody else"


def test_a_large_or_broken_medium_leaves_nothing_there(tmp_path: Path) -> None:
    for name in ("h1", "h2"):
        (tmp_path / name).mkdir()
    two, large = Two(tmp_path), tmp_path / "h1/c.iso"
    with large.open("wb") as file:
        file.truncate(CARRIED_BYTES + 1)
    with pytest.raises(Refused, match="too large to be brought along"):
        asyncio.run(bring_media(Node(two, "h1"), Node(two, "h2"), ("/iso/c.iso",), "not moved"))
    broken = asyncio.run(two.run("h2", script_command(TAKE, "/iso/c.iso", "aa", text="half")))
    assert broken.exit_status != 0
    assert list((tmp_path / "h2").iterdir()) == []
