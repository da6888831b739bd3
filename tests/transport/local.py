"""A transport for tests: every node is this machine, and the programs run without SSH.

It shares sessions with the SSH transport, so that each test of a session runs over both.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar, cast

from controller.errors import Refused
from controller.transport import resident, retry
from controller.transport.base import Command, Conversation, Endpoint, Reply, SideChannel
from controller.transport.session import Capture, Lines, RelaySource, Session, Talk, relay_between

S = TypeVar("S", bound=Session)
NOT_FOUND = 127


class LocalPipe:
    """A child process as a session sees it."""

    def __init__(self, transport: asyncio.SubprocessTransport) -> None:
        self._transport = transport

    def _input(self) -> asyncio.WriteTransport:
        return cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))

    def _output(self) -> asyncio.ReadTransport:
        return cast(asyncio.ReadTransport, self._transport.get_pipe_transport(1))

    def write(self, data: bytes) -> None:
        """Feed standard input."""
        self._input().write(data)

    def write_eof(self) -> None:
        """End standard input."""
        self._input().close()

    def pause_reading(self) -> None:
        """Take no more output for now."""
        self._output().pause_reading()

    def resume_reading(self) -> None:
        """Take output again."""
        self._output().resume_reading()

    def close(self) -> None:
        """Let go: end standard input, and the process with it unless it has ended."""
        self._transport.close()


class Child(asyncio.SubprocessProtocol):
    """Hands what a child process says to a session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.transport: asyncio.SubprocessTransport | None = None
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the session its pipe."""
        self.transport = cast(asyncio.SubprocessTransport, transport)
        self.session.pipe = LocalPipe(self.transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Pass output on."""
        if fd == 1:
            self.session.take_stdout(data)
        else:
            self.session.take_stderr(data)

    def pause_writing(self) -> None:
        """Slow down whoever feeds the session."""
        self.session.hold(full=True)

    def resume_writing(self) -> None:
        """Let it go on."""
        self.session.hold(full=False)

    def process_exited(self) -> None:
        """Pass the exit status on; a death by signal as a shell would report it."""
        assert self.transport is not None
        status = self.transport.get_returncode()
        if status is not None:
            self.session.status = status if status >= 0 else 128 - status

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass the end on: the process has ended and all it said was heard."""
        self.session.end()
        self.gone.set()


class LocalTransport:
    """Runs commands for every declared node on this machine."""

    def __init__(self) -> None:
        self._nodes: frozenset[str] = frozenset()
        self._helpers: dict[tuple[str, str], Lines] = {}
        self._turns: dict[tuple[str, str], asyncio.Lock] = {}
        self._children: set[Child] = set()

    def declare(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Learn the names; where they are does not matter."""
        self._nodes = frozenset(endpoint.name for endpoint in endpoints)

    async def run(self, node: str, command: Command) -> Reply:
        """Run one command here."""
        session = await self._open(node, Capture, command)
        return await session.finish(node, command)

    async def run_on_new_connection(self, node: str, command: Command) -> Reply:
        """Run one command here: there is no connection to be new."""
        return await self.run(node, command)

    async def lines(self, node: str, command: Command) -> AsyncIterator[str]:
        """Yield the lines of a command that speaks for ever; its input stays open."""
        session = await self._open(node, Lines, command)
        session.write(command.input, last=False)
        try:
            while (line := await session.next_line()) is not None:
                yield line.decode(errors="replace")
        finally:
            session.close()

    @asynccontextmanager
    async def converse(self, node: str, command: Command) -> AsyncIterator[Conversation]:
        """Start a command and give the conversation with it; leaving it ends the process."""
        session = await self._open(node, Lines, command)
        try:
            session.write(command.input, last=False)
            yield Talk(node, command.argv[0], session)
        finally:
            session.close()

    async def relay(self, source: tuple[str, Command], sink: tuple[str, Command],
                    channel: SideChannel | None = None) -> tuple[Reply, Reply]:
        """Feed what one node's command prints to another node's."""
        into = await self._open(sink[0], Capture, sink[1])
        try:
            spout = await self._open(source[0], lambda: RelaySource(into, channel), source[1])
        except BaseException:
            into.close()
            raise
        return await relay_between(spout, into, source, sink)

    async def ask(self, node: str, program: str, question: str, timeout_s: float) -> str:
        """Return the answer of the resident helper."""
        key = (node, program)
        async with self._turns.setdefault(key, asyncio.Lock()):
            return await retry.asking(lambda: self._ask(key, question, timeout_s))

    async def close(self) -> None:
        """End every process and wait for its end."""
        for child in self._children:
            child.session.close()
        for child in self._children:
            await child.gone.wait()
        self._helpers.clear()

    async def _ask(self, key: tuple[str, str], question: str, timeout_s: float) -> str:
        node, program = key
        session = self._helpers.pop(key, None)
        if session is None or session.ended.is_set():
            session = await self._open(node, Lines, Command(resident.ARGV))
            session.write(resident.render_program(program), last=False)
        try:
            answer = await session.answer(node, question, timeout_s)
            self._helpers[key] = session
            return answer
        finally:
            if self._helpers.get(key) is not session:
                session.close()

    async def _open(self, node: str, kind: Callable[[], S], command: Command) -> S:
        if node not in self._nodes:
            raise Refused(f"{node} is not a declared host or switch")
        self._children = {child for child in self._children if not child.gone.is_set()}
        session = kind()
        try:
            _, child = await asyncio.get_running_loop().subprocess_exec(
                lambda: Child(session), *command.argv)
            self._children.add(child)
        except (FileNotFoundError, PermissionError) as error:
            if not isinstance(session, Capture):
                raise Refused(f"{command.argv[0]} cannot be run: {error.strerror}") from error
            session.status = NOT_FOUND  # as a shell would report it
            session.take_stderr(f"{command.argv[0]}: {error.strerror}".encode())
            session.pipe = NoPipe()
            session.end()
        return session


class NoPipe:
    """The far side of a command that could not be started."""

    def write(self, data: bytes) -> None:
        """Drop input: nobody reads it."""

    def write_eof(self) -> None:
        """There is nothing to end."""

    def pause_reading(self) -> None:
        """There is nothing to read."""

    def resume_reading(self) -> None:
        """There is nothing to read."""

    def close(self) -> None:
        """There is nothing to close."""
