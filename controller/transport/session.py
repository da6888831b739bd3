"""Sessions: one running command each, over SSH or (in tests) a local process.

A session receives what its command writes and knows how it ended. Four kinds:

    Capture      a command that ends; its whole output is collected, up to a limit
    Lines        a command that goes on; its output is read line by line, with back-pressure
    RelaySource  a command whose output feeds another session, with back-pressure
    Talk         a conversation over a Lines session

`pipe` is set when the request leaves, `ended` once no output can follow. A session that ended
without a `status` lost its connection.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import Final, Protocol

from controller.errors import ActionError, OutcomeUnknown, Refused
from controller.transport import resident
from controller.transport.base import Command, Reply, SideChannel
from controller.transport.retry import ConnectionBroke

REPLY_BYTES: Final = 32 << 20
"""Larger than any answer of our programs; a session that exceeds it is closed."""
NOT_FOUND: Final = 127
"""How shells report that there is no such program."""
LINES_WAITING: Final = 1000
BYTES_WAITING: Final = 4 << 20
"""Of complete lines not yet read; beyond it the command is paused."""


class Pipe(Protocol):
    """The transport's end of a session: the command's standard input and flow control."""

    def write(self, data: bytes) -> None:
        """Feed standard input."""
        ...

    def write_eof(self) -> None:
        """End standard input."""
        ...

    def pause_reading(self) -> None:
        """Stop receiving output for now."""
        ...

    def resume_reading(self) -> None:
        """Receive output again."""
        ...

    def close(self) -> None:
        """Close the channel; the command sees the end of its standard input."""
        ...


class Session(ABC):
    """One command."""

    def __init__(self) -> None:
        self.pipe: Pipe | None = None
        self.ended = asyncio.Event()
        self.status: int | None = None
        self.stderr = bytearray()
        self.overflowed = False
        self.noise: str | None = None
        """The login shell's last line, if the shell ended or overflowed before the command began.
        """
        self.fed_by: Session | None = None

    @abstractmethod
    def take_stdout(self, data: bytes) -> None:
        """Receive a piece of standard output."""

    def take_stderr(self, data: bytes) -> None:
        """Receive a piece of standard error; only the first REPLY_BYTES are kept."""
        self.stderr += data[: REPLY_BYTES - len(self.stderr)]

    def end(self) -> None:
        """Record the end of output, and stop the session that feeds this one."""
        self.ended.set()
        if self.fed_by is not None:
            self.fed_by.close()

    def hold(self, *, full: bool) -> None:
        """Pause the session that feeds this one, or let it continue."""
        pipe = None if self.fed_by is None else self.fed_by.pipe
        if pipe is not None:
            (pipe.pause_reading if full else pipe.resume_reading)()

    def overflow(self) -> None:
        """Close a session whose output exceeds the limit."""
        self.overflowed = True
        self.close()
        self.end()

    def refuse_unbegun(self, node: str) -> None:
        """Raise Refused if the login shell never began the command: then nothing was done."""
        if self.noise is None:
            return
        how = "said too much" if self.overflowed else f"ended with status {self.status}"
        said = f"its last line is “{self.noise[:200]}”" if self.noise else "it said nothing"
        if "sudo" in self.noise:
            raise Refused(f"sudo on {node} does not let this account become root; {said}: put there"
                          " what `hotsite sudoers` prints, or declare `ssh.sudo: false`")
        raise Refused(f"the login shell on {node} {how} before it ran anything; {said}: look at the"
                      " account's shell and at what its start-up files do, such as .bashrc and"
                      " BASH_ENV")

    def write(self, text: str, *, last: bool) -> None:
        """Feed standard input; `last` ends it."""
        assert self.pipe is not None, "a session that was opened has a pipe"
        try:
            self.pipe.write(text.encode())
            if last:
                self.pipe.write_eof()
        except OSError:
            return  # the command ended before it had read its input; its reply says why

    def close(self) -> None:
        """Close the channel."""
        if self.pipe is not None:
            self.pipe.close()


class Capture(Session):
    """A command that ends: its output is collected up to the limit."""

    def __init__(self) -> None:
        super().__init__()
        self.stdout = bytearray()

    def take_stdout(self, data: bytes) -> None:
        """Collect output."""
        if len(self.stdout) + len(data) > REPLY_BYTES:
            self.overflow()
        else:
            self.stdout += data

    async def finish(self, node: str, command: Command) -> Reply:
        """Feed the command, wait for its end, and return its reply.

        Errors: OutcomeUnknown when it does not end in time, its output is too large or the
        connection breaks; Refused when the login shell never began it.
        """
        self.write(command.input, last=True)
        program = command.argv[0]
        try:
            async with asyncio.timeout(command.timeout_s):
                await self.ended.wait()
        except TimeoutError:
            raise OutcomeUnknown(f"{program} on {node} did not end within {command.timeout_s:g} s;"
                                 " it may still be at work") from None
        finally:
            self.close()
        self.refuse_unbegun(node)
        if self.overflowed:
            raise OutcomeUnknown(f"{program} on {node} said more than {REPLY_BYTES >> 20} MiB;"
                                 " it was cut off")
        if self.status is None:
            raise ConnectionBroke(f"the connection to {node} broke while {program} was at work")
        return Reply(self.status, self.stdout.decode(errors="replace"),
                     self.stderr.decode(errors="replace"))


class RelaySource(Session):
    """A command whose output is fed into another session, at that one's speed."""

    def __init__(self, into: Session, channel: SideChannel | None = None) -> None:
        super().__init__()
        self._into, self._channel = into, channel
        self._unfinished = bytearray()
        into.fed_by = self

    def take_stderr(self, data: bytes) -> None:
        """Also pass complete lines to the side channel."""
        super().take_stderr(data)
        if self._channel is not None:
            first, *more = data.split(b"\n")
            self._unfinished += first
            for piece in more:
                self._channel.on_line(self._unfinished.decode(errors="replace"))
                self._unfinished = bytearray(piece)
            if len(self._unfinished) > REPLY_BYTES:
                self.overflow()

    def begin(self, text: str) -> None:
        """Feed the command its input, which stays open."""
        self.write(text, last=False)
        if self._channel is not None:
            self._channel.open(self._send)

    def _send(self, line: str) -> None:
        if not self.ended.is_set():
            self.write(line + "\n", last=False)

    def take_stdout(self, data: bytes) -> None:
        """Pass output on."""
        pipe = self._into.pipe
        assert pipe is not None, "the sink was opened first"
        if self._into.ended.is_set():
            return
        try:
            pipe.write(data)
        except OSError:
            self.close()    # the sink has ended; its reply says why

    def end(self) -> None:
        """Record the end, and close the sink's input."""
        super().end()
        if not self._into.ended.is_set():
            self._into.write("", last=True)

    def reply(self, node: str, program: str) -> Reply:
        """Return how it ended.

        Errors: ConnectionBroke when the connection broke before its exit status.
        """
        self.refuse_unbegun(node)
        if self.status is None:
            raise ConnectionBroke(f"the connection to {node} broke while {program} was at work")
        return Reply(self.status, "", self.stderr.decode(errors="replace"))


async def relay_between(spout: RelaySource, sink: Capture, source: tuple[str, Command],
               target: tuple[str, Command]) -> tuple[Reply, Reply]:
    """Feed the source's command its input, and return both replies once both have ended."""
    (node, command), (sink_node, sink_command) = source, target
    spout.begin(command.input)
    try:
        async with asyncio.timeout(command.timeout_s):
            await spout.ended.wait()
            await sink.ended.wait()
    except TimeoutError:
        raise OutcomeUnknown(f"what {node} sends was not taken whole by {sink_node} within"
                             f" {command.timeout_s:g} s") from None
    finally:
        spout.close()
        sink.close()
    sink.refuse_unbegun(sink_node)
    if sink.status is None:
        raise ConnectionBroke(f"the connection to {sink_node} broke while {sink_command.argv[0]}"
                              " was at work")
    got = Reply(sink.status, sink.stdout.decode(errors="replace"),
                sink.stderr.decode(errors="replace"))
    if got.exit_status != 0 and spout.status is None:   # closed because the sink had failed
        return Reply(128, "", spout.stderr.decode(errors="replace")), got
    return spout.reply(node, command.argv[0]), got


class Lines(Session):
    """A command that goes on: its output is split into lines."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: deque[bytes] = deque()
        self.waiting_bytes = 0
        self.unfinished = bytearray()
        self.news = asyncio.Event()
        self.paused = False

    def take_stdout(self, data: bytes) -> None:
        """Split the output into lines; pause the command while the reader is behind."""
        first, *more = data.split(b"\n")
        self.unfinished += first
        for piece in more:
            self.waiting.append(bytes(self.unfinished))
            self.waiting_bytes += len(self.unfinished)
            self.unfinished = bytearray(piece)
            self.news.set()
        if len(self.unfinished) > REPLY_BYTES:
            self.overflow()
        too_many = len(self.waiting) > LINES_WAITING or self.waiting_bytes > BYTES_WAITING
        if too_many and self.pipe is not None and not self.paused:
            self.paused = True
            self.pipe.pause_reading()

    def end(self) -> None:
        """Wake the reader: no further line can follow."""
        super().end()
        self.news.set()

    async def next_line(self) -> bytes | None:
        """Return the next complete line, or None at the end."""
        while not self.waiting:
            if self.ended.is_set():
                return None
            self.news.clear()
            await self.news.wait()
        line = self.waiting.popleft()
        self.waiting_bytes -= len(line)
        if self.paused and not self.waiting and self.pipe is not None:
            self.paused = False
            self.pipe.resume_reading()
        return line

    async def answer(self, node: str, question: str, timeout_s: float) -> str:
        """Send a question to the resident helper of this session and return its answer.

        Errors: OutcomeUnknown or Refused; after either, the helper must not be asked again: a late
        answer to this question would be taken for the next one's.
        """
        if self.waiting or self.unfinished:
            raise OutcomeUnknown(f"{node} answered without being asked")
        self.write(resident.render_question(question), last=False)
        try:
            async with asyncio.timeout(timeout_s):
                line = await self.next_line()
            if line is None:
                raise self.cut_short(node)
            return line.decode()
        except TimeoutError:
            raise OutcomeUnknown(f"{node} was asked and did not answer within"
                                 f" {timeout_s:g} s") from None
        except UnicodeDecodeError:
            raise OutcomeUnknown(f"{node} answered with bytes that are no text") from None

    def cut_short(self, node: str) -> ActionError:
        """Return why a helper ended without a complete answer."""
        self.refuse_unbegun(node)
        said = [line for line in self.stderr.decode(errors="replace").split("\n") if line.strip()]
        if self.overflowed:
            return OutcomeUnknown(f"{node} answered with more than {REPLY_BYTES >> 20} MiB;"
                                  " it was cut off")
        if self.status == NOT_FOUND:
            return Refused(f"{node} has no python3 in the search path of this account: install"
                           " Python 3.9 or newer there, from the distribution (apt install"
                           " python3)")
        if self.status:
            return Refused(f"the script on {node} ended with status {self.status}: "
                           f"{said[-1] if said else 'it said nothing'}")
        return ConnectionBroke(f"the answer of {node} was cut off in the middle")


class Talk:
    """A conversation with the command of a session; see Conversation."""

    def __init__(self, node: str, program: str, session: Lines) -> None:
        self._node, self._program, self._session = node, program, session

    def send(self, line: str) -> None:
        """Write one line to its standard input; after the command's end, do nothing."""
        if not self._session.ended.is_set():
            self._session.write(line + "\n", last=False)

    async def receive(self) -> str | None:
        """Return its next line, or None at the end."""
        line = await self._session.next_line()
        return None if line is None else line.decode(errors="replace")

    async def outcome(self, timeout_s: float) -> Reply:
        """Close its standard input, wait for its exit and return the reply."""
        session = self._session
        if not session.ended.is_set():
            session.write("", last=True)
        try:
            async with asyncio.timeout(timeout_s):
                await session.ended.wait()
        except TimeoutError:
            raise OutcomeUnknown(f"{self._program} on {self._node} did not end within"
                                 f" {timeout_s:g} s; it may still be at work") from None
        session.refuse_unbegun(self._node)
        if session.overflowed:
            raise OutcomeUnknown(f"{self._program} on {self._node} said more than"
                                 f" {REPLY_BYTES >> 20} MiB in one line; it was cut off")
        if session.status is None:
            raise ConnectionBroke(f"the connection to {self._node} broke while {self._program}"
                                  " was at work")
        return Reply(session.status, "", session.stderr.decode(errors="replace"))
