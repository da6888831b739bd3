"""
Commands that carry the term: a host refuses whoever does not conduct any more.

A lease ends on the controller's own clock, and a controller can be stopped between its last look
at that clock and its next command: minutes later it goes on where it was. So each command that may
change something goes through a few lines of shell, which compare the controller's term with the
highest that this node was ever told, and only then run the command:

    lower than noted, or another's in the same term   exit 76, and whose term it is; nothing ran
    as noted                                          runs
    higher                                            noted first, durably; then it runs

    /var/lib/hotsite/term           "TERM HOLDER"; replaced by a rename, only ever by a higher one
    /var/lib/hotsite/term.lock      held while the term is compared, alone while it is noted
    /var/lib/hotsite/term.running   held while a command runs

Comparing and beginning are one step: whoever notes a higher term holds the first lock alone, so
every command of a lower term has either begun or will be refused. Whoever notes it also waits for
those that have begun, for RUNNING_S at most. What takes longer than that (a migration, a copy) goes
on: facts show it, and it must not keep the successor from a host for hours. A program that a
command leaves running in the background does not hold the lock.

Conversations are compared when they begin; they find their term in HOTSITE_TERM, and the mover
compares it again before each request (`remote/mover/term.py`).

A new term is told to every node that answers before the first command of it (`announce`), so that
a predecessor is refused also where the successor has nothing to do.

Rule 1: without a declared lease there is no term, no comparison, and no cost.
Rule 2: a term file that cannot be read refuses everything: it is never term 0.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

from controller.errors import ActionError, Refused, Unavailable
from controller.store.lease import HIGHEST_TERM, Term
from controller.transport.base import (
    Command,
    Conversation,
    Endpoint,
    Reply,
    SideChannel,
    Transport,
)

FOLDER: Final = "/var/lib/hotsite"
LOCK_S: Final = 10
RUNNING_S: Final = 5
"""How long a new term waits for the running commands of lower ones."""
OVERTAKEN, NOT_COMPARED = 76, 75
"""Exit statuses of the comparison; its first line on standard error begins with MARK."""
MARK: Final = "hotsite-term "
COMPARE: Final = f"""
folder=$1 term=$2 holder=$3 how=$4; shift 4
fail() {{ echo "{MARK}$1" >&2; exit {NOT_COMPARED}; }}
compare() {{
  noted=0 owner=$holder
  [ ! -e "$folder/term" ] || read -r noted owner <"$folder/term"
  case $noted in ''|*[!0-9]*|0?*|?????????????????*) noted= ;; esac
  [ -n "$noted" ] && [ -n "$owner" ] || fail "its file $folder/term cannot be understood"
}}
umask 077
command -v flock >/dev/null || fail "it has no program flock: install util-linux"
[ -d "$folder" ] || mkdir -p "$folder" 2>/dev/null || fail "it has no folder $folder"
{{ command exec 8>>"$folder/term.lock" 9>>"$folder/term.running"; }} 2>/dev/null ||
  fail "$folder cannot be written"
flock -s -w {LOCK_S} 8 || fail "another controller has been noting its term for {LOCK_S} s"
compare
if [ "$noted" -lt "$term" ]; then
  flock -x -w {LOCK_S} 8 || fail "another controller has been noting its term for {LOCK_S} s"
  compare
  if [ "$noted" -lt "$term" ]; then
    {{ echo "$term $holder" >"$folder/term.part" && sync "$folder/term.part" &&
      mv -f "$folder/term.part" "$folder/term" && sync "$folder"; }} 2>/dev/null ||
      fail "its disk took no term"
    ! flock -x -w {RUNNING_S} 9 || flock -u 9
    noted=$term owner=$holder
  fi
fi
if [ "$noted" -gt "$term" ] || [ "$owner" != "$holder" ]; then
  echo "{MARK}$noted $owner" >&2
  exit {OVERTAKEN}
fi
export HOTSITE_TERM="$term $holder $folder"
if [ "$how" = begin ]; then
  exec "$@" 8>&- 9>&-
fi
flock -s 9
exec 8>&-
"$@" 9>&-
exit $?
"""
"""Constant; everything else is in its arguments."""


class Terms(Protocol):
    """Who conducts, as far as this controller knows."""

    def current(self) -> Term | None:
        """Return this controller's term; None where no lease is declared.

        Errors: Refused when this controller must change nothing.
        """
        ...

    def overtaken(self, node: str, by: Term) -> None:
        """Learn that a node refused our term for another."""
        ...


class NoTerms:
    """One controller alone: no lease is declared."""

    def current(self) -> Term | None:
        """Return None."""
        return None

    def overtaken(self, node: str, by: Term) -> None:
        """Do nothing: without a term nobody is refused."""


class TermedTransport:
    """A transport whose commands carry the term; questions to helpers change nothing and do not."""

    def __init__(self, transport: Transport, folder: str = FOLDER) -> None:
        self._transport = transport
        self._folder = folder
        self.terms: Terms = NoTerms()

    def declare(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Set the nodes."""
        self._transport.declare(endpoints)

    async def run(self, node: str, command: Command) -> Reply:
        """Run one command, if the node does not know a higher term."""
        term = self.terms.current()
        return self.compared(node, term, await self._transport.run(
            node, self._carrying(term, command, "run")))

    async def run_on_new_connection(self, node: str, command: Command) -> Reply:
        """Run one command so over a connection of its own."""
        term = self.terms.current()
        return self.compared(node, term, await self._transport.run_on_new_connection(
            node, self._carrying(term, command, "run")))

    def lines(self, node: str, command: Command) -> AsyncIterator[str]:
        """Yield the lines of a command that only looks."""
        return self._transport.lines(node, command)

    def converse(self, node: str, command: Command) -> AbstractAsyncContextManager[Conversation]:
        """Start a conversation, if the node does not know a higher term."""
        return self._converse(node, command)

    @asynccontextmanager
    async def _converse(self, node: str, command: Command) -> AsyncIterator[Conversation]:
        term = self.terms.current()
        async with self._transport.converse(
                node, self._carrying(term, command, "begin")) as talk:
            yield talk if term is None else TermedTalk(self, node, term, talk)

    async def relay(self, source: tuple[str, Command], sink: tuple[str, Command],
                    channel: SideChannel | None = None) -> tuple[Reply, Reply]:
        """Pipe one command into another, if neither node knows a higher term."""
        term = self.terms.current()
        sent, taken = await self._transport.relay(
            (source[0], self._carrying(term, source[1], "begin")),
            (sink[0], self._carrying(term, sink[1], "begin")), channel)
        self.compared(sink[0], term, taken)
        return self.compared(source[0], term, sent), taken

    async def ask(self, node: str, program: str, question: str, timeout_s: float) -> str:
        """Ask a resident helper."""
        return await self._transport.ask(node, program, question, timeout_s)

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.close()

    async def announce(self, nodes: Iterable[str], term: Term, limit_s: float) -> Term | None:
        """Tell nodes a new term; return the highest by which any of them refused it.

        Shapes: nodes that do not answer within `limit_s` learn it with their first command.
        """
        told = [asyncio.create_task(self._tell(node, term)) for node in nodes]
        if not told:
            return None
        done, late = await asyncio.wait(told, timeout=limit_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return max((by for task in done if (by := task.result()) is not None), default=None)

    async def _tell(self, node: str, term: Term) -> Term | None:
        """Tell one node; return the term by which it refused."""
        try:
            reply = await self._transport.run(node, self._carrying(term, Command(("true",)), "run"))
        except ActionError:
            return None
        return parse_refusal(reply)

    def _carrying(self, term: Term | None, command: Command, how: str) -> Command:
        """Return a command that compares `term` first."""
        if term is None:
            return command
        return Command(("sh", "-c", COMPARE, "hotsite", self._folder, str(term.number),
                        term.holder, how, *command.argv), command.input, command.timeout_s)

    def compared(self, node: str, term: Term | None, reply: Reply) -> Reply:
        """Return the reply of a command that ran.

        Errors: Refused when the node knows a higher term; Unavailable when it could not compare.
        """
        if term is None or not reply.stderr.startswith(MARK):
            return reply
        if (by := parse_refusal(reply)) is not None:
            self.terms.overtaken(node, by)
            raise Refused(f"{node} does nothing for this controller any more: {by.holder} conducts"
                          f" in term {by.number}, and this one had term {term.number}")
        if reply.exit_status == NOT_COMPARED:
            why = reply.stderr.partition("\n")[0].removeprefix(MARK)
            raise Unavailable(f"{node} could not compare terms, so that nothing was done: {why}")
        return reply


class TermedTalk:
    """A conversation that a node may have refused to begin."""

    def __init__(self, transport: TermedTransport, node: str, term: Term,
                 talk: Conversation) -> None:
        self._transport, self._node, self._term, self._talk = transport, node, term, talk

    def send(self, line: str) -> None:
        """Write one line to its standard input."""
        self._talk.send(line)

    async def receive(self) -> str | None:
        """Return its next line, or None at the end."""
        return await self._talk.receive()

    async def outcome(self, timeout_s: float) -> Reply:
        """Return how it ended.

        Errors: Refused when the node knows a higher term.
        """
        reply = await self._talk.outcome(timeout_s)
        return self._transport.compared(self._node, self._term, reply)


def parse_refusal(reply: Reply) -> Term | None:
    """Return the term by which a node refused a command; None if it did not."""
    if reply.exit_status != OVERTAKEN or not reply.stderr.startswith(MARK):
        return None
    number, _, holder = reply.stderr.partition("\n")[0].removeprefix(MARK).partition(" ")
    if not number.isdigit() or int(number) > HIGHEST_TERM:
        return None
    return Term(int(number), holder)
