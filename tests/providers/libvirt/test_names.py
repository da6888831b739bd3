"""A domain of any name is the one that is meant, in every command that a hand sends."""

import asyncio
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shutil import which
from typing import Any
from uuid import NAMESPACE_URL, uuid5
from xml.sax.saxutils import escape

import pytest

from controller.errors import ActionError
from controller.plan.actions.action import Action
from controller.plan.actions.machine import (
    DefineDomain,
    DisableAutostart,
    ReconfigureDomain,
    ResumeDomain,
    ShutDownDomain,
    StartDomain,
    UndefineDomain,
)
from controller.providers.libvirt.hands import LibvirtHands
from controller.providers.libvirt.used_files import parse_used_files
from controller.providers.libvirt.virsh import address_of
from controller.transport.base import Reply
from tests.providers.fakes import Scripted, failed, said
from tests.providers.libvirt.test_hands import DESIRED, XML
from tests.providers.libvirt.test_migration import GONE as LEFT
from tests.providers.libvirt.test_migration import LOOK, SAME_PATHS, ends
from tests.providers.libvirt.test_migration import action as migration

UUID = "6b7c5d1e-0000-4000-8000-000000000001"
BASE: dict[str, Any] = {"target": "VirtualMachine/sql", "node": "h", "reason": "r", "uuid": UUID}
PLAIN = ("WIN_2019", "old server", "-x", "--all", "a'b\"c", "caf\u00e9 \u65e5\u672c",
         "$(reboot)", "x" * 200)
TAKEN = ("7", "007", " 7", "+7", "-0", "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
         "6BA7B810-9DAD-11D1-80B4-00C04FD430C8", "6ba7b8109dad11d180b400c04fd430c8----")
GONE = failed("error: failed to get domain\n")
ACTIONS: tuple[Any, ...] = (
    StartDomain(**BASE, domain="sql"), ResumeDomain(**BASE, domain="sql"),
    ShutDownDomain(**BASE, domain="sql", limit_s=5), DisableAutostart(**BASE, domain="sql"),
    UndefineDomain(**BASE, domain="sql"),
    ReconfigureDomain(**BASE, domain="sql", changes=(), live=False))


class Anything(Scripted):
    """Answers everything with success and no words."""

    async def run(self, node: str, command: Any) -> Reply:
        """Note the command."""
        self.commands.append((node, command))
        return said()


def sent(action: Action) -> list[tuple[str, ...]]:
    """Return the words of every virsh that a hand runs, until it ends or has had enough."""
    transport = Anything()
    with suppress(ActionError, ValueError):
        asyncio.run(LibvirtHands(transport).apply(action))
    return [tuple(command.argv) for _, command in transport.commands]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda one: one.verb)
@pytest.mark.parametrize("name", [*PLAIN, *TAKEN])
def test_the_domain_is_one_word_that_means_no_other(action: Any, name: str) -> None:
    for argv in sent(replace(action, domain=name)):
        meant = UUID if name in TAKEN or action.verb == "start" else name
        assert meant in argv, argv
        assert name == meant or name not in argv
        if argv[0] == "virsh":
            assert argv[argv.index(meant) - 1] == "--"


@pytest.mark.parametrize("name", TAKEN)
def test_a_definition_is_looked_for_by_its_uuid_and_keeps_its_name(name: str) -> None:
    wanted = replace(DESIRED, name=name, template=XML)
    define = DefineDomain(target="VirtualMachine/sql", node="h", reason="r", desired=wanted)
    transport = Scripted((f"dumpxml -- {wanted.uuid}", GONE), ("define", said()))
    asyncio.run(LibvirtHands(transport).apply(define))
    assert f"<name>{name}</name>" in transport.inputs[0]


def test_a_file_of_a_domain_whose_name_could_be_anothers_is_known_by_its_uuid() -> None:
    text = f"{UUID}\x1f0\x1f{XML.replace('<name>sql', '<name>7')}\x1e"
    assert {use.domain for use in parse_used_files(text)[0]} == {UUID}


@pytest.mark.parametrize(("reply", "words"), [
    (said(), "libvirt there starts it with h2"),
    (failed("error: no room\n"), "does not start it with h2 as before (no room)")])
def test_what_starts_with_its_host_does_so_where_it_is_moved(reply: Reply, words: str) -> None:
    wanted = replace(migration(with_storage=False), autostart=True, domain="old server")
    transport = Scripted(
        *LOOK, *SAME_PATHS, ("h1: stat", said("7\n")), ("h2: stat", said("7\n")),
        ("h1: migrate", said()), *ends(LEFT, said("running\n")),
        ("h2: autostart -- old server", reply))
    assert words in asyncio.run(LibvirtHands(transport).apply(wanted))


def test_the_definitions_of_a_move_lie_in_files_whose_names_are_plain() -> None:
    kept = (f"h1: /run/hotsite/move-{UUID}-", said())
    wanted = replace(migration(path="/q/sql-vda.qcow2"), domain="../../etc", uuid=UUID)
    transport = Scripted(*LOOK, ("h2: list --all", said()), ("h2: sh -c", said()),
                         ("h1: domblkinfo", said("Capacity:       1048576\n")),
                         ("h2: qemu-img info", failed("qemu-img: Could not open '/q/sql-vda.qcow2':"
                                                      " No such file or directory\n")),
                         ("h2: sh -c", said()), *SAME_PATHS, kept, kept,
                         ("h1: migrate", failed("error: stopped\n")),
                         *ends(said("running\n"), LEFT), ("h1: domjobinfo", said("Job type: None")))
    with pytest.raises((ActionError, AssertionError)):
        asyncio.run(LibvirtHands(transport).apply(wanted))
    paths = [word for _, command in transport.commands for word in command.argv
             if word.startswith("/run/hotsite/move-")]
    assert paths
    assert all(path.startswith(f"/run/hotsite/move-{UUID}-") for path in paths)


@pytest.mark.skipif(which("virsh") is None, reason="libvirt is not installed here")
def test_virsh_itself_finds_each_domain_among_all_of_them(tmp_path: Path) -> None:
    """Its test driver gives them ids from 1 on, which some of the names are, too."""
    names = {str(uuid5(NAMESPACE_URL, name)): name for name in (*PLAIN, *TAKEN)}
    names["6ba7b810-9dad-11d1-80b4-00c04fd430c8"] = "whose uuid the names of others are"
    guests = "".join(
        f"<domain type='test'><name>{escape(name)}</name><uuid>{uuid}</uuid><memory>8192</memory>"
        "<vcpu>1</vcpu><os><type>hvm</type></os></domain>" for uuid, name in names.items())
    node = tmp_path / "node.xml"
    node.write_text(f"<node>{guests}</node>")
    for uuid, name in names.items():
        found = subprocess.run(
            ["virsh", "-q", "-c", f"test://{node}", "dominfo", "--", address_of(name, uuid)],
            capture_output=True, text=True, check=False)
        assert uuid in found.stdout, name
