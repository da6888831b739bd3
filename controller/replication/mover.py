"""The mover on a host: how its program gets there, and how it is asked.

The mover is controller/remote/mover, packed as one zip archive that Python can run. The same
sources give the same bytes, so the archive's hash is its version and its name on hosts:

    /run/hotsite/mover-HASH.pyz     in memory: gone after a reboot, and then installed again

Every command is one line of shell: compare the file with the hash, then run it. If the file is
missing or differs, the shell exits with NOT_INSTALLED and nothing has run; the controller sends the
archive over standard input (written beside, checked, synced, renamed) and runs the command again.
So nothing first asks whether the mover is there, and a half-written or altered file never runs.
Files of other versions are leftovers, which the sweep removes.

It is asked in three ways:

    ask        one verb, one answer, one process: probe, pin, verify, retire, remove, sweep
    session    the verb `attend`: one process answers many requests, which saves a start for each.
               Requests are numbered, and an answer must carry its request's number.
    starting   a verb that talks (`job`, `attend`): it says {"ready": true} first. Text before that
               line is the login shell's. Two hosts can be started at the same time.

How it ended is read from the exit status alone: 1 is Refused, 2 is Unavailable (nothing happened),
any other is OutcomeUnknown. After an answer that was not received in time, a session is over: what
would come next might be the late answer to the question before.

When the controller or the connection goes away, the mover sees the end of its standard input and
ends by itself; what it leaves then is described where it is made (remote/mover).

Rule 1: nothing secret is in argv; a request is one line on standard input.
Rule 2: the archive is compared with its hash each time before it runs.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.providers.linux.archive import digest as digest_of
from controller.providers.linux.archive import install_command as install_package
from controller.providers.node import Node, script_command
from controller.transport import resident
from controller.transport.base import Command, Conversation, Reply
from controller.transport.json_text import parse_json

FOLDER: Final = "/run/hotsite"
PYTHON: Final = " ".join(resident.PYTHON)
NOT_INSTALLED: Final = 126
EXIT_S: Final = 10.0
READY_S: Final = 60.0
"""For a started mover to say that it is ready; generous, because a swapping host is slow."""
MOST_GREETINGS: Final = 100
"""At most so many lines of a login shell before the mover says that it is ready."""
UNREACHED: Final = "unreached"
"""The mover's error name for a route that does not lead to the other host."""
REFUSED, TRY_AGAIN = 1, 2
"""Exit statuses of the mover; after any other, the request may have been carried out."""
RUN: Final = f"""
file=$1 sum=$2; shift 2
echo "$sum  $file" | sha256sum -c --quiet >/dev/null 2>&1 || exit {NOT_INSTALLED}
exec {PYTHON} "$file" "$@"
"""


def digest() -> str:
    """Return the archive's SHA-256."""
    return digest_of("mover")


def archive_path() -> str:
    """Return the archive's path on hosts."""
    return f"{FOLDER}/mover-{digest()[:16]}.pyz"


def install_command() -> Command:
    """Return the command that installs the archive on a host, atomically."""
    return install_package("mover", archive_path())


def verb_command(verb: str, *words: str, text: str = "", timeout_s: float = 60.0) -> Command:
    """Return the command that runs one verb."""
    return script_command(RUN, archive_path(), digest(), verb, *words, text=text,
                          timeout_s=timeout_s)


def parse_answer(text: str) -> dict[str, Any]:
    """Return the last line, which must be a JSON object.

    Errors: ValueError.
    """
    lines = text.strip().splitlines()
    answer = parse_json(lines[-1]) if lines else None
    if not isinstance(answer, dict):
        raise ValueError("its answer is not an object")
    return answer


def parse_complaint(stderr: str) -> str:
    """Return the sentence of the error that the mover wrote."""
    for line in reversed(stderr.strip().splitlines()):
        try:
            answer = parse_json(line)
        except ValueError:
            continue
        if isinstance(answer, dict) and "sentence" in answer:
            return str(answer["sentence"])
    return stderr.strip().splitlines()[-1] if stderr.strip() else "it gave no reason"


class RouteUnavailable(Unavailable):
    """The direct route between the hosts does not work; nothing was sent. Relaying may work."""


def is_unreached(stderr: str) -> bool:
    """Return whether a mover's last error says that it could not reach the other host."""
    for line in reversed(stderr.strip().splitlines()):
        with suppress(ValueError):
            error = parse_json(line)
            return isinstance(error, dict) and error.get("error") == UNREACHED
    return False


def failure(reply: Reply, sentence: str) -> ActionError:
    """Return the error for a mover's exit; `sentence` says what did not happen, and where."""
    complaint = parse_complaint(reply.stderr)
    if reply.exit_status == REFUSED:
        return Refused(f"{sentence}: {complaint}")
    if reply.exit_status == TRY_AGAIN and is_unreached(reply.stderr):
        return RouteUnavailable(complaint)
    if reply.exit_status == TRY_AGAIN:
        return Unavailable(f"{sentence}: {complaint}; it is tried again")
    return OutcomeUnknown(f"{sentence}, as far as is known: {complaint}; it is looked at again")


def failure_of(told: dict[str, Any], sentence: str) -> ActionError:
    """Return the error for one of several requests that were asked at once."""
    return failure(Reply(int(told["status"]), "", json.dumps(told)), sentence)


class Mover:
    """The mover on one host."""

    def __init__(self, node: Node) -> None:
        self.node = node

    @property
    def name(self) -> str:
        """Return the host's name."""
        return self.node.name

    async def install(self) -> None:
        """Install the archive."""
        reply = await self.node.run(install_command())
        if reply.exit_status != 0:
            raise Refused(f"the mover could not be put on {self.name}: {reply.stderr.strip()}")

    async def ask(self, verb: str, request: dict[str, Any], *, failed: str,
                  timeout_s: float = 60.0) -> dict[str, Any]:
        """Run one verb and return its answer.

        Errors: by the exit status; see `failure`.
        """
        command = verb_command(verb, text=json.dumps(request) + "\n", timeout_s=timeout_s)
        reply = await self.node.run(command)
        if reply.exit_status == NOT_INSTALLED:
            await self.install()
            reply = await self.node.run(command)
        if reply.exit_status != 0:
            raise failure(reply, failed)
        try:
            return parse_answer(reply.stdout)
        except ValueError as error:
            raise OutcomeUnknown(f"{failed}, as far as is known: {error}") from error

    @asynccontextmanager
    async def starting(self, verb: str, request: dict[str, Any] | None,
                       failed: str) -> AsyncIterator["Starting"]:
        """Start a verb that says when it is ready."""
        text = "" if request is None else json.dumps(request) + "\n"
        command = verb_command(verb, text=text)
        async with AsyncExitStack() as stack:
            talk = await stack.enter_async_context(self.node.transport.converse(
                self.name, command))
            yield Starting(self, command, talk, stack, failed)

    @asynccontextmanager
    async def session(self, failed: str) -> AsyncIterator["MoverSession"]:
        """Start a mover that answers one request after another, and wait until it is ready."""
        async with self.starting("attend", None, failed) as starting:
            yield MoverSession(self.name, await starting.ready())

    @asynccontextmanager
    async def converse(self, verb: str, request: dict[str, Any],
                       *words: str) -> AsyncIterator[Conversation]:
        """Start a verb that is sent more lines later; the mover must be installed already."""
        command = verb_command(verb, *words, text=json.dumps(request) + "\n")
        async with self.node.transport.converse(self.name, command) as talk:
            yield talk


class Starting:
    """A verb that was started and may not be ready yet: several can start at the same time."""

    def __init__(self, mover: Mover, command: Command, talk: Conversation, stack: AsyncExitStack,
                 failed: str) -> None:
        self._mover, self._command, self._failed = mover, command, failed
        self._talk, self._stack = talk, stack

    async def ready(self) -> Conversation:
        """Wait until it is ready and return the conversation; install the mover if needed."""
        if await self._is_ready():
            return self._talk
        reply = await self._talk.outcome(EXIT_S)
        if reply.exit_status != NOT_INSTALLED:
            raise failure(reply, self._failed)
        await self._mover.install()
        self._talk = await self._stack.enter_async_context(
            self._mover.node.transport.converse(self._mover.name, self._command))
        if not await self._is_ready():
            raise failure(await self._talk.outcome(EXIT_S), self._failed)
        return self._talk

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(READY_S):
                return await is_ready(self._talk)
        except TimeoutError:    # nothing was asked yet
            raise Unavailable(f"{self._failed}: the mover on {self._mover.name} did not say within"
                              f" {READY_S:g} s that it is ready; it is tried again") from None


async def is_ready(talk: Conversation) -> bool:
    """Return whether the verb says that it is ready; lines of a login shell before are skipped."""
    for _ in range(MOST_GREETINGS):
        line = await talk.receive()
        if line is None:
            return False
        with suppress(ValueError):
            if parse_json(line) == {"ready": True}:
                return True
    return False


class MoverSession:
    """A mover that answers one request after another, over one conversation.

    Rule 1: an answer must carry its request's number. After an answer that was not received the
    session is over: nobody knows what has been done since.
    """

    def __init__(self, name: str, talk: Conversation) -> None:
        self.name, self._talk = name, talk
        self._number = 0
        self._is_over = False

    async def ask(self, verb: str, request: dict[str, Any], *, failed: str,
                  timeout_s: float = 60.0) -> dict[str, Any]:
        """Return a verb's answer; errors as Mover.ask."""
        if self._is_over:
            raise Unavailable(f"{failed}: {self.name} was not asked, because an earlier answer of"
                              " its mover was not received; it is tried again")
        self._number += 1
        self._talk.send(json.dumps({"number": self._number, "verb": verb, "request": request}))
        self._is_over = True    # until the answer is here, however the wait for it ends
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._talk.receive()
        except TimeoutError:
            raise OutcomeUnknown(f"{failed}, as far as is known: {self.name} did not answer within"
                                 f" {timeout_s:g} s; it is looked at again") from None
        if line is None:
            raise failure(await self._talk.outcome(EXIT_S), failed)
        return self._parse(line, failed)

    def _parse(self, line: str, failed: str) -> dict[str, Any]:
        try:
            whole = parse_json(line)
            if whole["number"] != self._number:
                raise ValueError(f"an answer to question {whole['number']}, not to {self._number}")
            self._is_over = False
            if "failed" in whole:
                error = whole["failed"]
                raise failure_of(error, failed)
            answer: dict[str, Any] = whole["answer"]
            return answer
        except (KeyError, TypeError, ValueError) as error:
            raise OutcomeUnknown(f"{failed}, as far as is known: {self.name} answered with"
                                 f" something that is not understood ({error})") from error
