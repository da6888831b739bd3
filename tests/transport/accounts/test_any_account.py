"""A sudo user with any login shell, on a machine as distributions set it up: no root login."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import pytest

from controller.errors import ActionError, Refused
from controller.transport.base import Command, Endpoint, Reply, Transport
from controller.transport.ssh import SshTransport
from tests.transport.accounts.conftest import SHELLS
from tests.transport.accounts.machine import Machine, obstacle

T = TypeVar("T")
pytestmark = pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "it can be")
ODD = ("it's", "a\nb", "!x", "\\n", "-e", "", "\\\\", "$HOME", "*", "\u00fc", '"', "`id`")
ECHO = """
import os, sys
for line in sys.stdin:
    sys.stdout.write("%d %s" % (os.getuid(), line)); sys.stdout.flush()
"""

WITHOUT_PYTHON = """
mkdir bare bare-work
mount -t overlay -o lowerdir=/usr,upperdir=bare,workdir=bare-work overlay /usr
rm -f /usr/bin/python3* /usr/local/bin/python3*
"""


def use(endpoint: Endpoint, body: Callable[[Transport], Awaitable[T]]) -> T:
    """Return what `body` returns."""
    async def opened() -> T:
        transport = SshTransport()
        transport.declare((endpoint,))
        try:
            return await body(transport)
        finally:
            await transport.close()
    return asyncio.run(opened())


def refusal(endpoint: Endpoint, body: Callable[[Transport], Awaitable[object]]) -> str:
    """Return the sentence with which something is refused."""
    with pytest.raises(ActionError) as caught:
        use(endpoint, body)
    assert type(caught.value) is Refused
    return str(caught.value)


async def show_id(transport: Transport) -> Reply:
    """Ask who runs commands there."""
    return await transport.run("paris-1", Command(("id", "-un")))


@pytest.mark.parametrize("shell", SHELLS)
def test_whatever_the_login_shell_is_commands_run_as_root_as_they_are(
        machine: Machine, shell: str) -> None:
    async def run(transport: Transport) -> object:
        script = 'cat; id -u; printf "%s|" "$@"; echo complaint >&2; exit 3'
        reply = await transport.run("paris-1", Command(("sh", "-c", script, "sh", *ODD), "fed\n"))
        answers = [await transport.ask("paris-1", ECHO, word, 30.0) for word in ("one", "two")]
        async for line in transport.lines("paris-1", Command(("sh", "-c", "echo news; cat"))):
            heard = line
            break
        sent = await transport.relay(
            ("paris-1", Command(("sh", "-c", "printf '\\0\\1\\2\\377'"))),
            ("paris-1", Command(("od", "-An", "-tx1"))))
        return reply, answers, heard, sent[1].stdout.split()

    assert use(machine.endpoint(f"ann-{shell}"), run) == (
        Reply(3, "fed\n0\n" + "".join(f"{word}|" for word in ODD), "complaint\n"),
        ["0 one", "0 two"], "news", ["00", "01", "02", "ff"])


def test_more_sessions_than_sshd_lets_be_open_on_one_connection(machine: Machine) -> None:
    async def body(transport: Transport) -> list[str | None]:
        async with AsyncExitStack() as stack:
            talks = [await stack.enter_async_context(transport.converse(
                "paris-1", Command(("sh", "-c", "echo up; cat")))) for _ in range(21)]
            return [await talk.receive() for talk in talks]
    assert use(machine.endpoint("ann"), body) == ["up"] * 21


def test_root_s_login_is_closed_and_the_sentence_says_where_to_look(machine: Machine) -> None:
    said = refusal(machine.endpoint("root", sudo=False), show_id)
    assert "refused the login of root" in said
    assert "PermitRootLogin" in said


def test_without_sudo_it_is_the_account_that_runs_them(machine: Machine) -> None:
    assert use(machine.endpoint("ann", sudo=False), show_id).stdout == "ann\n"


def test_polls_leave_no_line_in_the_auth_log(machine: Machine) -> None:
    counted: list[int] = []

    async def rest(transport: Transport) -> None:
        watching = Command(("sh", "-c", "echo up; exec cat"))
        async with transport.converse("paris-1", watching) as watcher:
            assert await watcher.receive() == "up"
            await transport.ask("paris-1", ECHO, "0", 30.0)
            counted.append(len(machine.log.auth()))
            for number in range(360):       # an hour, one in ten seconds
                await transport.ask("paris-1", ECHO, str(number), 30.0)
            counted.append(len(machine.log.auth()))

    before = len(machine.log.auth())
    use(machine.endpoint("ann"), rest)
    begun, rested = counted
    assert rested == begun
    assert begun - before <= 10


@pytest.mark.parametrize(("sudoers", "sentence"), [
    ("", "sudo: a password is required"),
    ("ann ALL=(root) NOPASSWD: /usr/bin/true\n", "sudo: a password is required"),
])
def test_who_may_not_become_root_is_told_so_by_name(tmp_path: Path, sudoers: str, sentence: str
                                                    ) -> None:
    one = Machine(tmp_path / "machine", {"ann": "/bin/bash"}, {"hotsite": sudoers})
    try:
        said = refusal(one.endpoint("ann"), show_id)
    finally:
        one.stop()
    assert "sudo on paris-1 does not let this account become root" in said
    assert sentence in said
    assert "hotsite sudoers" in said


def test_the_file_is_well_formed_and_allows_nothing_else(machine: Machine) -> None:
    checked = machine.inside("visudo", "-c")
    assert checked.returncode == 0, checked.stderr
    for words in (("true",), ("/bin/sh", "-c", "id"), ("/bin/sh",), ("-s",)):
        async def other(transport: Transport, words: tuple[str, ...] = words) -> Reply:
            return await transport.run("paris-1", Command(("sudo", "-n", *words)))
        reply = use(machine.endpoint("ann", sudo=False), other)
        assert reply.exit_status == 1
        assert "a password is required" in reply.stderr


def test_a_host_without_python_is_named_in_one_sentence(tmp_path: Path) -> None:
    async def ask(transport: Transport) -> str:
        return await transport.ask("paris-1", ECHO, "one", 30.0)
    one = Machine(tmp_path / "machine", {"ann": "/bin/sh"}, more=WITHOUT_PYTHON)
    try:
        said = refusal(one.endpoint("ann"), ask)
    finally:
        one.stop()
    assert said.startswith("paris-1 has no python3 in the search path of this account: install")
