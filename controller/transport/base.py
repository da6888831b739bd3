"""What every transport is: it runs commands on named nodes and brings the replies back."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Command:
    """One program to run: argv, never a shell string; `input` is fed to its standard input."""

    argv: tuple[str, ...]
    input: str = ""
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What a command said, and how it ended."""

    exit_status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a node is reached, and as whom."""

    name: str
    address: str
    port: int
    user: str
    key_file: str
    known_hosts: str


class Aside:
    """What is said beside a relay: the first command's standard error, and lines told to it."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self.on_line = on_line
        self._tell: Callable[[str], None] | None = None

    def open(self, tell: Callable[[str], None]) -> None:
        """Learn how lines get to the first command's standard input, now that it runs."""
        self._tell = tell

    def tell(self, line: str) -> None:
        """Write one line to the first command's standard input, if it runs by now."""
        if self._tell is not None:
            self._tell(line)


class Conversation(Protocol):
    """A command under way that is told, and tells, one line at a time."""

    def tell(self, line: str) -> None:
        """Write one line to its standard input."""
        ...

    async def hear(self) -> str | None:
        """Return its next line, None when it has no more to say or the line broke."""
        ...

    async def outcome(self, timeout_s: float) -> Reply:
        """End its standard input, wait for its end, and return how it ended; stdout is empty.

        Errors: OutcomeUnknown when it does not end in time, or the line broke.
        """
        ...


class Transport(Protocol):
    """Runs commands on nodes over one long-lived connection each."""

    def declare(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Learn the nodes; a changed endpoint's connection is dropped."""
        ...

    async def run(self, node: str, command: Command) -> Reply:
        """Run one command; a non-zero exit status is a reply, not an error.

        Errors: Refused (unknown node, wrong host key, login refused), Unavailable (never reached
        the node), OutcomeUnknown (the line broke or time ran out after the request had left).
        """
        ...

    async def run_on_new_connection(self, node: str, command: Command) -> Reply:
        """Run one command over a connection made for it alone: proof that one can still come in."""
        ...

    def lines(self, node: str, command: Command) -> AsyncIterator[str]:
        """Run a command that speaks for ever and yield its lines; ends when the line breaks."""
        ...

    def converse(self, node: str, command: Command) -> AbstractAsyncContextManager[Conversation]:
        """Start a command, its input first, and give the conversation; leaving it hangs up."""
        ...

    async def relay(self, source: tuple[str, Command], sink: tuple[str, Command],
                    aside: Aside | None = None) -> tuple[Reply, Reply]:
        """Feed what one node's command prints to another node's; the first's input stays open.

        Shapes: bytes pass through here and are not kept; both replies have no stdout of the first.
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
