"""SSH: long-lived connections to each node, strict host keys, one key file, limits on everything.

Rule 1: a host key is never trusted on first use, and no file but the two declared ones is read.
Rule 2: a failure is Unavailable until the request has left, OutcomeUnknown from then on.
"""

import asyncio
import logging
import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncssh

from controller.errors import ActionError, Refused, Unavailable
from controller.transport import resident, retry
from controller.transport.base import Aside, Command, Conversation, Endpoint, Reply
from controller.transport.credentials import check_private
from controller.transport.frame import Frame
from controller.transport.retry import LineBroke
from controller.transport.session import Capture, Lines, Session, Spout, Talk, pour

CIPHERS: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com",
                  "chacha20-poly1305@openssh.com", "aes256-ctr", "aes128-ctr")
CLOSE_S: Final = 2.0
SESSIONS: Final = 8
"""On one connection: sshd's MaxSessions is 10 where nobody has set it, and what more there is to do
goes over another connection. Where it lets fewer, that is learned."""
IDLE_S: Final = 60.0
"""So long another connection than the first is kept when nothing runs over it."""
SIGNALS: Final = {"HUP": 1, "INT": 2, "QUIT": 3, "ABRT": 6, "KILL": 9, "PIPE": 13, "TERM": 15}


class Channel(asyncssh.SSHClientSession[bytes]):
    """Hands what asyncssh hears of a command to its session."""

    def __init__(self, session: Session, frame: Frame, lost: Callable[[], None]) -> None:
        self.session, self.frame, self._lost = session, frame, lost

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Give the session its pipe: the channel is open, and the request leaves now."""
        self.session.pipe = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Pass output on."""
        if datatype is None:
            self.frame.take_stdout(data)
        else:
            self.frame.take_stderr(data)

    def pause_writing(self) -> None:
        """Slow down whoever feeds the session."""
        self.session.hold(full=True)

    def resume_writing(self) -> None:
        """Let it go on."""
        self.session.hold(full=False)

    def exit_status_received(self, status: int) -> None:
        """Pass the exit status on."""
        self.session.status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """Report a death by signal as a shell would."""
        self.session.status = 128 + SIGNALS.get(signal, 0)
        self.session.take_stderr(f"killed by signal {signal}".encode())

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass the end on."""
        self._lost()
        self.frame.end()


S = TypeVar("S", bound=Session)


@dataclass(slots=True)
class Line:
    """What is held open towards one node."""

    endpoint: Endpoint
    connecting: asyncio.Task[asyncssh.SSHClientConnection] | None = None
    connection: asyncssh.SSHClientConnection | None = None
    helpers: dict[str, Lines] = field(default_factory=dict)
    turns: dict[str, asyncio.Lock] = field(default_factory=dict)
    """One question at a time per program: its answers carry no number."""
    sessions: set[Session] = field(default_factory=set)
    """What is open on the connection, or about to be."""
    most: int = SESSIONS
    """So many the far side lets be open at a time, as far as is known."""
    more: list["Line"] = field(default_factory=list)
    """Further connections, for what the first one has no room for."""

    def with_room(self) -> "Line":
        """Return the first connection with room for a session, a new one where none has any."""
        found = next((one for one in (self, *self.more) if len(one.sessions) < self.most), None)
        if found is None:
            found = Line(self.endpoint)
            self.more.append(found)
        return found


class SshTransport:
    """Runs commands on nodes over one long-lived SSH connection each."""

    def __init__(self, *, connect_s: float = 10.0, connects_at_once: int = 16,
                 keepalive_s: float = 5.0) -> None:
        logging.getLogger("asyncssh").setLevel(logging.ERROR)
        self._lines: dict[str, Line] = {}
        self._connect_s = connect_s
        self._keepalive_s = keepalive_s
        # each login costs 5 ms of computing: hundreds at once would starve the commands that run
        self._gate = asyncio.Semaphore(connects_at_once)
        self._keys: dict[tuple[str, float], asyncssh.SSHKey] = {}
        self._known: dict[tuple[str, float], asyncssh.SSHKnownHosts] = {}
        self._farewells: set[asyncio.Task[None]] = set()

    def declare(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Learn the nodes; connections to nodes that changed or went are dropped."""
        wanted = {endpoint.name: endpoint for endpoint in endpoints}
        for name, line in list(self._lines.items()):
            if wanted.get(name) != line.endpoint:
                self._drop(self._lines.pop(name))
        for name, endpoint in wanted.items():
            self._lines.setdefault(name, Line(endpoint))

    async def run(self, node: str, command: Command) -> Reply:
        """Run one command over the node's connection; errors as in the protocol."""
        line = self._line(node)
        session = await self._open(line, Capture, command)
        return await session.finish(node, command)

    async def run_on_new_connection(self, node: str, command: Command) -> Reply:
        """Run one command over a connection of its own, which is closed afterwards."""
        line = Line(self._line(node).endpoint)
        try:
            session = await self._open(line, Capture, command)
            return await session.finish(node, command)
        finally:
            self._drop(line)

    async def lines(self, node: str, command: Command) -> AsyncIterator[str]:
        """Yield the lines of a command that speaks for ever.

        Its standard input stays open: the end of it tells the far side that nobody listens.
        """
        session = await self._open(self._line(node), Lines, command)
        session.write(command.input, last=False)
        try:
            while (line := await session.next_line()) is not None:
                yield line.decode(errors="replace")
        finally:
            session.close()

    @asynccontextmanager
    async def converse(self, node: str, command: Command) -> AsyncIterator[Conversation]:
        """Start a command and give the conversation with it; leaving it ends its standard input."""
        session = await self._open(self._line(node), Lines, command)
        try:
            session.write(command.input, last=False)
            yield Talk(node, command.argv[0], session)
        finally:
            session.close()

    async def relay(self, source: tuple[str, Command], sink: tuple[str, Command],
                    aside: Aside | None = None) -> tuple[Reply, Reply]:
        """Feed what one node's command prints to another node's."""
        into = await self._open(self._line(sink[0]), Capture, sink[1])
        try:
            spout = await self._open(self._line(source[0]), lambda: Spout(into, aside), source[1])
        except BaseException:
            into.close()
            raise
        return await pour(spout, into, source, sink)

    async def ask(self, node: str, program: str, question: str, timeout_s: float) -> str:
        """Return the answer of the node's resident helper; it is started where it is not."""
        line = self._line(node)
        async with line.turns.setdefault(program, asyncio.Lock()):
            return await retry.asking(lambda: self._ask(line, program, question, timeout_s))

    async def close(self) -> None:
        """Close every connection, and wait a little for the far sides to agree."""
        for name in list(self._lines):
            self._drop(self._lines.pop(name))
        await asyncio.gather(*self._farewells)

    def _line(self, node: str) -> Line:
        line = self._lines.get(node)
        if line is None:
            raise Refused(f"{node} is not a declared host or switch")
        return line

    async def _ask(self, line: Line, program: str, question: str, timeout_s: float) -> str:
        """Ask once; anything but a whole answer ends the helper, so that no answer comes late."""
        session = line.helpers.pop(program, None)
        if session is None or session.ended.is_set():
            session = await self._open(line, Lines, Command(resident.ARGV, timeout_s=timeout_s))
            session.write(resident.render_program(program), last=False)
        try:
            answer = await session.answer(line.endpoint.name, question, timeout_s)
            line.helpers[program] = session
            return answer
        finally:
            if line.helpers.get(program) is not session:
                session.close()

    async def _open(self, line: Line, kind: Callable[[], S], command: Command) -> S:
        """Return a session in which `command` was started; Unavailable means it never left."""
        return await retry.connecting(lambda: self._open_once(line, kind, command),
                                      self._connect_s)

    async def _open_once(self, line: Line, kind: Callable[[], S], command: Command) -> S:
        await self._connection(line)    # all who come first wait for one login
        over, session = line.with_room(), kind()
        over.sessions.add(session)
        frame = Frame(session)
        try:
            connection = await self._connection(over)
            async with asyncio.timeout(command.timeout_s):
                await connection.create_session(
                    lambda: Channel(session, frame, lambda: self._left(line, over, session)),
                    render_command(frame.around(command.argv)), encoding=None)
        except (TimeoutError, OSError, asyncssh.Error) as error:
            session.close()
            if session.pipe is None and isinstance(error, asyncssh.ChannelOpenError):
                line.most = max(1, min(line.most, len(over.sessions) - 1))
            alone = len(over.sessions) == 1
            self._left(line, over, session)
            raise session_failure(line.endpoint.name, session, error, alone=alone) from error
        except BaseException:
            session.close()
            self._left(line, over, session)
            raise
        return session

    def _left(self, line: Line, over: Line, session: Session) -> None:
        """Note that a session is over; a further connection with none is closed after a while."""
        over.sessions.discard(session)
        if over is not line and not over.sessions:
            asyncio.get_running_loop().call_later(IDLE_S, self._drop_idle, line, over)

    def _drop_idle(self, line: Line, over: Line) -> None:
        """Close a further connection, unless it is in use again."""
        if over in line.more and not over.sessions:
            line.more.remove(over)
            self._drop(over)

    async def _connection(self, line: Line) -> asyncssh.SSHClientConnection:
        """Return the node's connection; all who need one wait for the same login."""
        if line.connection is not None and not line.connection.is_closed():
            return line.connection
        if line.connecting is None:
            line.connecting = asyncio.create_task(self._connect(line.endpoint))
            line.connecting.add_done_callback(heed)
        task = line.connecting
        try:
            line.connection = await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            raise Unavailable(f"{line.endpoint.name} was declared anew meanwhile") from None
        finally:
            if task.done() and line.connecting is task:
                line.connecting = None
        return line.connection

    async def _connect(self, endpoint: Endpoint) -> asyncssh.SSHClientConnection:
        """Log in, or say in a sentence why not."""
        async with self._gate:
            options = self._options(endpoint)
            try:
                async with asyncio.timeout(self._connect_s):
                    return await asyncssh.connect(endpoint.address, endpoint.port, config=None,
                                                  **options)
            except (TimeoutError, OSError, asyncssh.Error, ValueError) as error:
                raise connect_failure(endpoint, error, self._connect_s) from error

    def _options(self, endpoint: Endpoint) -> dict[str, Any]:
        """Return all that makes a login strict: no agent, no password, no file of the user's."""
        return {
            "username": endpoint.user, "client_keys": [self._key(endpoint)],
            "known_hosts": self._known_hosts(endpoint), "agent_path": None,
            "agent_forwarding": False, "x11_forwarding": False, "preferred_auth": "publickey",
            "password_auth": False, "kbdint_auth": False, "host_based_auth": False,
            "gss_auth": False, "gss_kex": False, "compression_algs": ["none"],
            "encryption_algs": list(CIPHERS), "client_version": "hotsite",
            "keepalive_interval": self._keepalive_s, "keepalive_count_max": 3,
        }

    def _key(self, endpoint: Endpoint) -> asyncssh.SSHKey:
        """Return the private key; it is read again when its file changed."""
        changed_at = check_private(endpoint)
        if (found := self._keys.get((endpoint.key_file, changed_at))) is None:
            try:
                found = asyncssh.read_private_key(endpoint.key_file)
            except (OSError, asyncssh.KeyImportError) as error:
                raise Refused(f"the key file {endpoint.key_file} cannot be used: {error}; it must"
                              " be a private key without a passphrase") from error
            self._keys = {(endpoint.key_file, changed_at): found}
        return found

    def _known_hosts(self, endpoint: Endpoint) -> asyncssh.SSHKnownHosts:
        """Return the declared host keys; they are read again when their file changed."""
        path = endpoint.known_hosts
        try:
            changed_at = Path(path).stat().st_mtime
            if (found := self._known.get((path, changed_at))) is None:
                found = asyncssh.read_known_hosts(path)
                self._known = {(path, changed_at): found}
        except (OSError, ValueError) as error:
            raise Refused(f"the file of host keys {path} cannot be used: {error}; without it no"
                          " host is talked to") from error
        return found

    def _drop(self, line: Line) -> None:
        """Let go of a line without waiting for the far side."""
        for one in line.more:
            self._drop(one)
        line.more.clear()
        if line.connecting is not None:
            line.connecting.cancel()
        if line.connection is not None:
            farewell = asyncio.create_task(say_goodbye(line.connection))
            self._farewells.add(farewell)
            farewell.add_done_callback(self._farewells.discard)


def heed(task: asyncio.Task[asyncssh.SSHClientConnection]) -> None:
    """Take note of a failed login even when all who waited for it have gone."""
    if not task.cancelled():
        task.exception()


async def say_goodbye(connection: asyncssh.SSHClientConnection) -> None:
    """Close a connection in good order, or in bad order when the far side is silent."""
    connection.close()
    try:
        async with asyncio.timeout(CLOSE_S):
            await connection.wait_closed()
    except TimeoutError:
        connection.abort()


def render_command(argv: tuple[str, ...]) -> str:
    """Return `argv` as the one string that SSH sends to the login shell; quoted here alone."""
    return shlex.join(argv)


def session_failure(node: str, session: Session, error: Exception, *,
                    alone: bool) -> ActionError:
    """Return what a command that could not be started means; `alone`: no other ran beside it."""
    if session.pipe is None:
        why = "in time" if isinstance(error, TimeoutError) else f"({error})"
        if alone and isinstance(error, asyncssh.ChannelOpenError):
            return Unavailable(f"{node} opens not a single session on a connection {why}: set"
                               " MaxSessions of its sshd to 1 or more; 10 is usual")
        return Unavailable(f"{node} did not open a channel for a command {why}")
    if isinstance(error, asyncssh.ChannelOpenError) and "request failed" in str(error).lower():
        return Refused(f"sshd on {node} does not let this account run commands")
    return LineBroke(f"the connection to {node} broke while a command was started ({error})")


def connect_failure(endpoint: Endpoint, error: Exception, limit_s: float) -> ActionError:
    """Return why there is no connection: what, which node, what now."""
    name, where = endpoint.name, f"{endpoint.address}:{endpoint.port}"
    match error:
        case asyncssh.HostKeyNotVerifiable():
            return Refused(f"the host key that {name} shows at {where} is not the one in"
                           f" {endpoint.known_hosts}; nothing was sent. If the host is new or was"
                           f" installed again, compare the key on its console and put it there")
        case asyncssh.PermissionDenied():
            return Refused(f"{name} at {where} refused the login of {endpoint.user} with the key"
                           f" {endpoint.key_file}; its public half must be in that account's"
                           " authorized_keys")
        case asyncssh.KeyExchangeFailed():
            return Refused(f"{name} at {where} and the controller have no cipher or kind of host"
                           f" key in common: {error}")
        case TimeoutError():
            return Unavailable(f"{name} at {where} did not answer to a login within {limit_s:g} s")
        case OSError():
            return Unavailable(f"{name} at {where} cannot be reached: {error.strerror or error}")
        case _:
            return Unavailable(f"{name} at {where} broke off the login: {error}")
