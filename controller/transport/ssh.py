"""SSH: long-lived connections to each node, strict host keys, one key file, limits on everything.

Connections. A node has a first connection, made when something first needs it and kept. Everybody
who needs it meanwhile waits for that one login, so a dead host costs one timeout however many ask.
sshd opens at most `MaxSessions` sessions (commands) on a connection, 10 by default, so at most
SESSIONS run on one; a further command gets an extra connection:

    node ── first connection: up to 8 sessions; kept until the node is declared anew
         ── extra connection: up to 8 sessions; closed IDLE_S after its last session ended
         ── …

An sshd that allows fewer refuses the channel: the limit is lowered to what was open, and the
command is tried again, since it was not sent. The extra connections also make room for long
sessions (watchers, resident helpers, movers), which would otherwise fill the first one for good.

Commands. `_open` retries a failed login or channel (retry.py); once the channel is open, the
request has left and nothing is repeated, except a question. A login shell may print text of its
own: see frame.py. A resident helper answers without numbers, so there is one question at a time per
program, and an answer that is late or incomplete ends the helper: the next question starts anew.

What ends a wait:

    login                connect_s (10 s); Unavailable: nothing was sent
    command, answer      its own time limit; OutcomeUnknown, and its channel is closed
    silent peer          three unanswered keepalives, about 15 s; ends the connection's sessions
    output too large     REPLY_BYTES; its channel is closed
    `declare`, `close`   the connections of a changed or removed node are closed

A controller that crashes closes its connections: each host sees the end of standard input, and its
programs end by themselves. Nothing here is stored.

Rule 1: a host key is never trusted on first use, and no file but the two declared ones is read.
Rule 2: a failure is Unavailable until the request has left, OutcomeUnknown from then on.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import asyncssh

from controller.errors import ActionError, Refused, Unavailable
from controller.transport import resident, retry
from controller.transport.base import Command, Conversation, Endpoint, Reply, SideChannel
from controller.transport.credentials import Credentials
from controller.transport.frame import Frame
from controller.transport.retry import ConnectionBroke
from controller.transport.session import Capture, Lines, RelaySource, Session, Talk, relay_between

S = TypeVar("S", bound=Session)
CLOSE_S: Final = 2.0
SESSIONS: Final = 8
"""At most so many on one connection, two less than sshd's default MaxSessions."""
IDLE_S: Final = 60.0
"""How long an extra connection is kept after its last session."""
SIGNALS: Final = {"HUP": 1, "INT": 2, "QUIT": 3, "ABRT": 6, "KILL": 9, "PIPE": 13, "TERM": 15}


class Channel(asyncssh.SSHClientSession[bytes]):
    """Passes asyncssh's events of one command to its session."""

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
        """Pause the command that feeds the session."""
        self.session.hold(full=True)

    def resume_writing(self) -> None:
        """Let it continue."""
        self.session.hold(full=False)

    def exit_status_received(self, status: int) -> None:
        """Pass the exit status on."""
        self.session.status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """Report death by a signal with a shell's exit status."""
        self.session.status = 128 + SIGNALS.get(signal, 0)
        self.session.take_stderr(f"killed by signal {signal}".encode())

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass the end on."""
        self._lost()
        self.frame.end()


@dataclass(slots=True)
class Connection:
    """A connection to a node; the first one also holds what belongs to the node."""

    endpoint: Endpoint
    connecting: asyncio.Task[asyncssh.SSHClientConnection] | None = None
    ssh: asyncssh.SSHClientConnection | None = None
    helpers: dict[str, Lines] = field(default_factory=dict)
    turns: dict[str, asyncio.Lock] = field(default_factory=dict)
    """One question at a time per program: its answers carry no number."""
    sessions: set[Session] = field(default_factory=set)
    """The open sessions, and those being opened."""
    max_sessions: int = SESSIONS
    """How many sshd lets be open at a time, as far as is known."""
    extra: list["Connection"] = field(default_factory=list)
    """Further connections, for sessions beyond `max_sessions`."""

    def with_free_session(self) -> "Connection":
        """Return a connection with room for a session, a new one if all are full."""
        found = next((one for one in (self, *self.extra)
                      if len(one.sessions) < self.max_sessions), None)
        if found is None:
            found = Connection(self.endpoint)
            self.extra.append(found)
        return found


class SshTransport:
    """Runs commands on nodes over long-lived SSH connections."""

    def __init__(self, *, connect_s: float = 10.0, connects_at_once: int = 16,
                 keepalive_s: float = 5.0) -> None:
        logging.getLogger("asyncssh").setLevel(logging.ERROR)
        self._connections: dict[str, Connection] = {}
        self._connect_s = connect_s
        # each login costs 5 ms of computing: hundreds at once would delay running commands
        self._gate = asyncio.Semaphore(connects_at_once)
        self._credentials = Credentials(keepalive_s)
        self._farewells: set[asyncio.Task[None]] = set()

    def declare(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Set the nodes; connections to changed or removed nodes are closed."""
        wanted = {endpoint.name: endpoint for endpoint in endpoints}
        for name, first in list(self._connections.items()):
            if wanted.get(name) != first.endpoint:
                self._drop(self._connections.pop(name))
        for name, endpoint in wanted.items():
            self._connections.setdefault(name, Connection(endpoint))

    async def run(self, node: str, command: Command) -> Reply:
        """Run one command over the node's connection; errors as in the protocol."""
        first = self._connection_to(node)
        session = await self._open(first, Capture, command)
        return await session.finish(node, command)

    async def run_on_new_connection(self, node: str, command: Command) -> Reply:
        """Run one command over a connection of its own, which is closed afterwards."""
        own = Connection(self._connection_to(node).endpoint)
        try:
            session = await self._open(own, Capture, command)
            return await session.finish(node, command)
        finally:
            self._drop(own)

    async def lines(self, node: str, command: Command) -> AsyncIterator[str]:
        """Yield the lines of a command that never ends.

        Its standard input stays open: its end tells the command that nobody reads any more.
        """
        session = await self._open(self._connection_to(node), Lines, command)
        session.write(command.input, last=False)
        try:
            while (line := await session.next_line()) is not None:
                yield line.decode(errors="replace")
        finally:
            session.close()

    @asynccontextmanager
    async def converse(self, node: str, command: Command) -> AsyncIterator[Conversation]:
        """Start a command and open a conversation; leaving it closes the command's input."""
        session = await self._open(self._connection_to(node), Lines, command)
        try:
            session.write(command.input, last=False)
            yield Talk(node, command.argv[0], session)
        finally:
            session.close()

    async def relay(self, source: tuple[str, Command], sink: tuple[str, Command],
                    channel: SideChannel | None = None) -> tuple[Reply, Reply]:
        """Pipe the output of one node's command into another node's."""
        into = await self._open(self._connection_to(sink[0]), Capture, sink[1])
        try:
            spout = await self._open(self._connection_to(source[0]),
                                     lambda: RelaySource(into, channel), source[1])
        except BaseException:
            into.close()
            raise
        return await relay_between(spout, into, source, sink)

    async def ask(self, node: str, program: str, question: str, timeout_s: float) -> str:
        """Return the answer of the node's resident helper, which is started if needed."""
        first = self._connection_to(node)
        async with first.turns.setdefault(program, asyncio.Lock()):
            return await retry.asking(lambda: self._ask(first, program, question, timeout_s))

    async def close(self) -> None:
        """Close every connection, and wait up to CLOSE_S for the other ends."""
        for name in list(self._connections):
            self._drop(self._connections.pop(name))
        await asyncio.gather(*self._farewells)

    def _connection_to(self, node: str) -> Connection:
        first = self._connections.get(node)
        if first is None:
            raise Refused(f"{node} is not a declared host or switch")
        return first

    async def _ask(self, first: Connection, program: str, question: str, timeout_s: float) -> str:
        """Ask once; without a complete answer in time the helper is ended (see above)."""
        session = first.helpers.pop(program, None)
        if session is None or session.ended.is_set():
            session = await self._open(first, Lines, Command(resident.ARGV, timeout_s=timeout_s))
            session.write(resident.render_program(program), last=False)
        try:
            answer = await session.answer(first.endpoint.name, question, timeout_s)
            first.helpers[program] = session
            return answer
        finally:
            if first.helpers.get(program) is not session:
                session.close()

    async def _open(self, first: Connection, kind: Callable[[], S], command: Command) -> S:
        """Return a session in which `command` was started; after Unavailable, it was not sent."""
        return await retry.connecting(lambda: self._open_once(first, kind, command),
                                      self._connect_s)

    async def _open_once(self, first: Connection, kind: Callable[[], S], command: Command) -> S:
        await self._logged_in(first)    # callers that arrive during the first login share it
        over, session = first.with_free_session(), kind()
        over.sessions.add(session)
        frame = Frame(session, sudo=first.endpoint.sudo)
        try:
            connection = await self._logged_in(over)
            async with asyncio.timeout(command.timeout_s):
                await connection.create_session(
                    lambda: Channel(session, frame, lambda: self._left(first, over, session)),
                    frame.request, encoding=None)
            session.write(frame.preamble(command.argv), last=False)
        except (TimeoutError, OSError, asyncssh.Error) as error:
            session.close()
            if session.pipe is None and has_no_room(error):
                first.max_sessions = max(1, min(first.max_sessions, len(over.sessions) - 1))
            alone = len(over.sessions) == 1
            self._left(first, over, session)
            raise session_failure(first.endpoint.name, session, error, alone=alone) from error
        except BaseException:
            session.close()
            self._left(first, over, session)
            raise
        return session

    def _left(self, first: Connection, over: Connection, session: Session) -> None:
        """Remove an ended session; an extra connection without sessions is closed after IDLE_S."""
        over.sessions.discard(session)
        if over is not first and not over.sessions:
            asyncio.get_running_loop().call_later(IDLE_S, self._drop_idle, first, over)

    def _drop_idle(self, first: Connection, over: Connection) -> None:
        """Close an extra connection, unless it is in use again."""
        if over in first.extra and not over.sessions:
            first.extra.remove(over)
            self._drop(over)

    async def _logged_in(self, first: Connection) -> asyncssh.SSHClientConnection:
        """Return the open connection, made if needed; concurrent callers share one login."""
        if first.ssh is not None and not first.ssh.is_closed():
            return first.ssh
        if first.connecting is None:
            first.connecting = asyncio.create_task(self._connect(first.endpoint))
            # a failure is read even when nobody waits for it any more
            first.connecting.add_done_callback(lambda one: one.cancelled() or one.exception())
        task = first.connecting
        try:
            first.ssh = await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            raise Unavailable(f"the address or key of {first.endpoint.name} was changed"
                              " during the login") from None
        finally:
            if task.done() and first.connecting is task:
                first.connecting = None
        return first.ssh

    async def _connect(self, endpoint: Endpoint) -> asyncssh.SSHClientConnection:
        """Log in, to each machine through the one before.

        Errors: Refused or Unavailable with a sentence.
        """
        station, through = endpoint, None
        async with self._gate:
            try:
                async with (asyncio.timeout(self._connect_s),
                            self._credentials.options(endpoint) as options):
                    for station in stations_of(endpoint):
                        found = await asyncssh.connect(
                            station.address, station.port, config=None, tunnel=through or (),
                            username=station.user, **options)
                        if through is not None:
                            found.set_tunnel(through)   # which it closes at its own end
                        through = found
                    return found
            except (TimeoutError, OSError, asyncssh.Error, ValueError) as error:
                if through is not None:
                    through.abort()
                raise connect_failure(station, error, self._connect_s) from error

    def _drop(self, first: Connection) -> None:
        """Close a connection and its extra ones without waiting for the other end."""
        for one in first.extra:
            self._drop(one)
        first.extra.clear()
        if first.connecting is not None:
            first.connecting.cancel()
        if first.ssh is not None:
            farewell = asyncio.create_task(say_goodbye(first.ssh))
            self._farewells.add(farewell)
            farewell.add_done_callback(self._farewells.discard)


def stations_of(endpoint: Endpoint) -> tuple[Endpoint, ...]:
    """Return the machines on the way and the node itself, each as its login needs it."""
    return (*(replace(endpoint, name=f"{hop.address} (on the way to {endpoint.name})",
                      address=hop.address, port=hop.port, user=hop.user, jump=())
              for hop in endpoint.jump), endpoint)


async def say_goodbye(connection: asyncssh.SSHClientConnection) -> None:
    """Close a connection, by force when the other end stays silent."""
    connection.close()
    try:
        async with asyncio.timeout(CLOSE_S):
            await connection.wait_closed()
    except TimeoutError:
        connection.abort()


def has_no_room(error: Exception) -> bool:
    """Return whether sshd refused one more session; asyncssh says the same of a lost connection."""
    return isinstance(error, asyncssh.ChannelOpenError) and "connection closed" not in str(
        error).lower()


def session_failure(node: str, session: Session, error: Exception, *,
                    alone: bool) -> ActionError:
    """Return the error for a command that could not be started.

    `alone`: no other session was open on its connection.
    """
    if session.pipe is None:
        why = "in time" if isinstance(error, TimeoutError) else f"({error})"
        if alone and has_no_room(error):
            return Unavailable(f"{node} opens not a single session on a connection {why}: set"
                               " MaxSessions of its sshd to 1 or more (default 10)")
        return Unavailable(f"{node} did not open a channel for a command {why}")
    if isinstance(error, asyncssh.ChannelOpenError) and "request failed" in str(error).lower():
        return Refused(f"sshd on {node} does not let this account run commands")
    return ConnectionBroke(f"the connection to {node} broke while a command was started ({error})")


def connect_failure(endpoint: Endpoint, error: Exception, limit_s: float) -> ActionError:
    """Return the error for a failed login: what, which node, what to do."""
    name, where = endpoint.name, f"{endpoint.address}:{endpoint.port}"
    match error:
        case asyncssh.HostKeyNotVerifiable():
            return Refused(f"the host key that {name} shows at {where} is not the one in"
                           f" {endpoint.known_hosts}; nothing was sent. If the host is new or was"
                           f" installed again, compare the key on its console and put it there")
        case asyncssh.PermissionDenied():
            keys = " and ".join(filter(None, (
                endpoint.key_file and f"the key {endpoint.key_file}",
                endpoint.agent and f"those of the agent {endpoint.agent}")))
            return Refused(f"{name} at {where} refused the login of {endpoint.user} with {keys};"
                           " its public half must be in that account's authorized_keys, and sshd"
                           " must let the account in (PermitRootLogin, AllowUsers)")
        case asyncssh.ChannelOpenError():
            return Unavailable(f"{name} at {where} cannot be reached from the machine before it:"
                               f" {error.reason}; that one's sshd must allow AllowTcpForwarding")
        case asyncssh.KeyExchangeFailed():
            return Refused(f"{name} at {where} and the controller have no cipher or kind of host"
                           f" key in common: {error}")
        case TimeoutError():
            return Unavailable(f"{name} at {where} did not answer to a login within {limit_s:g} s")
        case OSError():
            return Unavailable(f"{name} at {where} cannot be reached: {error.strerror or error}")
        case _:
            return Unavailable(f"{name} at {where} broke off the login: {error}")
