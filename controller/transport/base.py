"""The interface of every transport: it runs commands on named nodes and returns their replies."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from controller.errors import Unavailable


class NoConnection(Unavailable):
    """Not even a connection came about: the far side is off, cut off, or listens no more."""


@dataclass(frozen=True, slots=True)
class Command:
    """One program to run: argv, never a shell string; `input` is fed to its standard input."""

    argv: tuple[str, ...]
    input: str = ""
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A command's output and how it ended."""

    exit_status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Hop:
    """A machine that passes a login on to the next one."""

    address: str
    port: int
    user: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a node is reached, and as whom."""

    name: str
    address: str
    port: int
    user: str
    key_file: str
    """Empty: the keys of the agent alone. A public key (`.pub`): that one of the agent's."""
    known_hosts: str
    sudo: bool = False
    """Whether each command is begun by `sudo -n`."""
    certificate_file: str = ""
    agent: str = ""
    """The socket of an ssh-agent; empty: none is asked."""
    jump: tuple[Hop, ...] = ()
    """The machines on the way, the first one first."""


class SideChannel:
    """Lines beside a relay: the first command's standard error, and lines to its standard input.
    """

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self.on_line = on_line
        self._send: Callable[[str], None] | None = None

    def open(self, send: Callable[[str], None]) -> None:
        """Take the function that writes to the first command's standard input, now that it runs.
        """
        self._send = send

    def send(self, line: str) -> None:
        """Write one line to the first command's standard input; before it runs, do nothing."""
        if self._send is not None:
            self._send(line)


class Conversation(Protocol):
    """A running command that reads and writes one line at a time."""

    def send(self, line: str) -> None:
        """Write one line to its standard input."""
        ...

    async def receive(self) -> str | None:
        """Return its next line, or None at the end of its output or of the connection."""
        ...

    async def outcome(self, timeout_s: float) -> Reply:
        """Close its standard input, wait for its exit and return the reply; stdout is empty.

        Errors: OutcomeUnknown when it does not exit in time, or the connection broke.
        """
        ...


class Transport(Protocol):
    """Runs commands on nodes, over long-lived connections."""

    def declare(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Set the nodes; the connection of a changed or removed endpoint is closed."""
        ...

    async def run(self, node: str, command: Command) -> Reply:
        """Run one command; a non-zero exit status is a reply, not an error.

        Errors: Refused (unknown node, wrong host key, login refused), Unavailable (never reached
        the node), OutcomeUnknown (the connection broke or time ran out after the request was sent).
        """
        ...

    async def run_on_new_connection(self, node: str, command: Command) -> Reply:
        """Run one command over a connection of its own: proof that new logins still work."""
        ...

    def lines(self, node: str, command: Command) -> AsyncIterator[str]:
        """Run a command that never ends and yield its lines, until the connection breaks."""
        ...

    def converse(self, node: str, command: Command) -> AbstractAsyncContextManager[Conversation]:
        """Start a command, feed it its input and open a conversation; leaving it hangs up."""
        ...

    async def relay(self, source: tuple[str, Command], sink: tuple[str, Command],
                    channel: SideChannel | None = None) -> tuple[Reply, Reply]:
        """Pipe the output of one node's command into another node's; the first's input stays open.

        Shapes: the bytes pass through the controller and are in neither reply.
        Errors: as `run`, for whichever end broke; the first's time limit holds for both.
        """
        ...

    async def ask(self, node: str, program: str, question: str, timeout_s: float) -> str:
        """Send one line to a resident helper on the node and return its one-line answer.

        Shapes: `program` is Python source (standard library only) that is started once per
        connection, reads questions from its standard input and answers each with one line.
        Errors: as `run`; a question changes nothing, so it may be repeated.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
