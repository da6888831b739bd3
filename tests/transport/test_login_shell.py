"""A login shell that prints or exits before the command: its output is not an answer."""

import asyncio
import pwd
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from controller.errors import ActionError, Refused
from controller.transport.base import Command, Reply
from controller.transport.ssh import SshTransport
from tests.transport.sshd import Sshd

T = TypeVar("T")
ECHO = """
import sys
for line in sys.stdin:
    sys.stdout.write(line.upper()); sys.stdout.flush()
"""
NOISE = {
    "greets": "echo 'Welcome to paris-1 - authorised use only'",
    "greets without a newline": "printf 'Welcome> '",
    "warns": "echo 'bash: warning: setlocale: LC_ALL: cannot change locale' >&2",
    "speaks for long": "head -c 20000 /dev/zero | tr '\\0' x",
    "says bytes that are no text": "printf '\\377\\376\\n'",
    "traces": "set -x",
    "has last words": "trap 'echo goodbye' EXIT",
}
SHELL = Path(pwd.getpwuid(0).pw_shell).name
pytestmark = pytest.mark.skipif(SHELL != "bash", reason="this login shell reads no BASH_ENV")


class Shell:
    """A host whose login shell runs a line of somebody's before it runs a command."""

    def __init__(self, sshd: Sshd) -> None:
        self.sshd = sshd

    def starts_with(self, line: str) -> None:
        """Let the shell run `line` first."""
        (self.sshd.folder / "rc").write_text(line + "\n")

    def use(self, body: Callable[[SshTransport], Awaitable[T]]) -> T:
        """Return what `body` returns."""
        async def opened() -> T:
            transport = SshTransport()
            transport.declare((self.sshd.endpoint(),))
            try:
                return await body(transport)
            finally:
                await transport.close()
        return asyncio.run(opened())


@pytest.fixture(name="shell")
def shell_fixture(tmp_path: Path) -> Iterator[Shell]:
    sshd = Sshd(tmp_path)
    sshd.prepare()
    config = tmp_path / "sshd_config"
    # a bash that sshd starts itself, at its first level, reads .bashrc alone
    config.write_text(config.read_text() + f"SetEnv BASH_ENV={tmp_path}/rc SHLVL=2\n")
    sshd.start()
    yield Shell(sshd)
    sshd.stop()


@pytest.mark.parametrize("line", NOISE.values(), ids=NOISE)
def test_what_it_says_is_no_part_of_an_answer(shell: Shell, line: str) -> None:
    shell.starts_with(line)

    async def run(transport: SshTransport) -> Reply:
        return await transport.run("paris-1", Command((
            "sh", "-c", 'read word; echo "$word and $1"; echo complaint >&2; exit 3', "sh", "it's"),
            input="said\n"))

    async def ask(transport: SshTransport) -> list[str]:
        return [await transport.ask("paris-1", ECHO, word, 10.0) for word in ("one", "two")]

    async def first(transport: SshTransport) -> str:
        async for heard in transport.lines("paris-1", Command(("sh", "-c", "echo news; cat"))):
            return heard
        return ""

    async def relay(transport: SshTransport) -> tuple[Reply, Reply]:
        return await transport.relay(
            ("paris-1", Command(("sh", "-c", "printf '\\0\\1\\2'"))),
            ("paris-1", Command(("od", "-An", "-tx1"))))

    assert shell.use(run) == Reply(3, "said and it's\n", "complaint\n")
    assert shell.use(ask) == ["ONE", "TWO"]
    assert shell.use(first) == "news"
    assert shell.use(relay)[1].stdout.split() == ["00", "01", "02"]


@pytest.mark.parametrize(("line", "sentence"), [
    ("exit 0", "ended with status 0 before it ran anything; it said nothing"),
    ("echo 'This account is currently not available.'; exit 1",
     "ended with status 1 before it ran anything; its last line is “This account is"),
    ("echo 'no /opt/env.sh' >&2; exit 7", "its last line is “no /opt/env.sh”"),
    ("yes", "said too much before it ran anything; its last line is “y”"),
])
def test_a_shell_that_runs_nothing_is_refused_by_name_and_by_what_it_said(
        shell: Shell, line: str, sentence: str) -> None:
    shell.starts_with(line)

    async def run(transport: SshTransport) -> Reply:
        return await transport.run("paris-1", Command(("true",)))

    async def ask(transport: SshTransport) -> str:
        return await transport.ask("paris-1", ECHO, "one", 10.0)

    for body in (run, ask):
        with pytest.raises(ActionError) as caught:
            shell.use(body)
        assert type(caught.value) is Refused
        assert "the login shell on paris-1" in str(caught.value)
        assert sentence in str(caught.value)
        assert "BASH_ENV" in str(caught.value)
