"""The mover on a host: put there by content hash, asked one verb at a time.

Rule 1: nothing secret is in argv; a request is one line on standard input.
Rule 2: the archive is compared with its hash each time before it runs.
"""

import asyncio
import base64
import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Final

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.providers.node import Node, script_command
from controller.transport import resident
from controller.transport.base import Command, Conversation, Reply
from controller.transport.json_text import parse_json

FOLDER: Final = "/run/hotsite"
PYTHON: Final = " ".join(resident.PYTHON)
NOT_THERE: Final = 126
LAST_WORD_S: Final = 10.0
READY_S: Final = 60.0
"""For a mover that was started to say so: a host that swaps is slow."""
MOST_GREETINGS: Final = 100
"""Lines of a login shell before the mover says that it is ready."""
UNREACHED: Final = "unreached"
"""As the mover names it in its errors."""
REFUSED, TRY_AGAIN = 1, 2
"""Exit statuses of the mover; any other means that it may have happened."""
RUN: Final = f"""
file=$1 sum=$2; shift 2
echo "$sum  $file" | sha256sum -c --quiet >/dev/null 2>&1 || exit {NOT_THERE}
exec {PYTHON} "$file" "$@"
"""
INSTALL: Final = """
set -e
umask 077
mkdir -p -m 0700 "${1%/*}"
part=$(mktemp "$1.XXXXXX.part")
trap 'rm -f -- "$part"' EXIT
base64 -d >"$part"
echo "$2  $part" | sha256sum -c --quiet
sync -- "$part"
mv -f -- "$part" "$1"
"""


@cache
def archive() -> bytes:
    """Return the mover as one file, the same bytes wherever and whenever it is packed."""
    packed = io.BytesIO()
    sources = dict(_sources(resources.files("controller") / "remote" / "mover", "mover/"))
    sources["__main__.py"] = sources["mover/__main__.py"]
    with zipfile.ZipFile(packed, "w") as out:
        for name, source in sorted(sources.items()):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o600 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(entry, source)
    return packed.getvalue()


def _sources(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    """Yield the modules below a folder, each under its name in the archive."""
    for entry in folder.iterdir():
        if entry.name.endswith(".py"):
            yield prefix + entry.name, entry.read_bytes()
        elif entry.is_dir() and entry.name != "__pycache__":
            yield from _sources(entry, f"{prefix}{entry.name}/")


@cache
def digest() -> str:
    """Return the hash by which hosts know the archive."""
    return hashlib.sha256(archive()).hexdigest()


def archive_path() -> str:
    """Return where the archive lies on hosts."""
    return f"{FOLDER}/mover-{digest()[:16]}.pyz"


def install_command() -> Command:
    """Return the command that puts the archive on a host, whole or not at all."""
    return script_command(INSTALL, archive_path(), digest(),
                          text=base64.encodebytes(archive()).decode(), timeout_s=60.0)


def verb_command(verb: str, *words: str, text: str = "", timeout_s: float = 60.0) -> Command:
    """Return the command that runs one verb."""
    return script_command(RUN, archive_path(), digest(), verb, *words, text=text,
                          timeout_s=timeout_s)


def parse_answer(text: str) -> dict[str, Any]:
    """Return the last line as the JSON object that it must be.

    Errors: ValueError.
    """
    lines = text.strip().splitlines()
    answer = parse_json(lines[-1]) if lines else None
    if not isinstance(answer, dict):
        raise ValueError("it answered with no object")
    return answer


def parse_complaint(stderr: str) -> str:
    """Return the sentence of an error that the mover told."""
    for line in reversed(stderr.strip().splitlines()):
        try:
            told = parse_json(line)
        except ValueError:
            continue
        if isinstance(told, dict) and "sentence" in told:
            return str(told["sentence"])
    return stderr.strip().splitlines()[-1] if stderr.strip() else "it gave no reason"


class NotLetIn(Unavailable):
    """The way from host to host does not lead in; nothing was sent that way, and another may."""


def is_unreached(stderr: str) -> bool:
    """Return whether a mover says that its way to the other end does not lead there."""
    for line in reversed(stderr.strip().splitlines()):
        with suppress(ValueError):
            told = parse_json(line)
            return isinstance(told, dict) and told.get("error") == UNREACHED
    return False


def failure(reply: Reply, sentence: str) -> ActionError:
    """Return what the end of a mover means; `sentence` says what did not happen, and where."""
    complaint = parse_complaint(reply.stderr)
    if reply.exit_status == REFUSED:
        return Refused(f"{sentence}: {complaint}")
    if reply.exit_status == TRY_AGAIN and is_unreached(reply.stderr):
        return NotLetIn(complaint)
    if reply.exit_status == TRY_AGAIN:
        return Unavailable(f"{sentence}: {complaint}; it is tried again")
    return OutcomeUnknown(f"{sentence}, as far as is known: {complaint}; it is looked at again")


class Mover:
    """The mover on one host."""

    def __init__(self, node: Node) -> None:
        self.node = node

    @property
    def name(self) -> str:
        """Return the host's name."""
        return self.node.name

    async def install(self) -> None:
        """Put the archive there."""
        reply = await self.node.run(install_command())
        if reply.exit_status != 0:
            raise Refused(f"the mover could not be put on {self.name}: {reply.stderr.strip()}")

    async def run(self, verb: str, request: dict[str, Any], *words: str, failed: str,
                  timeout_s: float = 60.0) -> str:
        """Return what a verb printed."""
        return await self.feed(verb, json.dumps(request) + "\n", *words, failed=failed,
                               timeout_s=timeout_s)

    async def feed(self, verb: str, text: str, *words: str, failed: str,
                   timeout_s: float = 60.0) -> str:
        """Return what a verb printed that was fed `text`.

        Errors: by the exit status; see `failure`.
        """
        command = verb_command(verb, *words, text=text, timeout_s=timeout_s)
        reply = await self.node.run(command)
        if reply.exit_status == NOT_THERE:
            await self.install()
            reply = await self.node.run(command)
        if reply.exit_status != 0:
            raise failure(reply, failed)
        return reply.stdout

    async def ask(self, verb: str, request: dict[str, Any], *, failed: str,
                  timeout_s: float = 60.0) -> dict[str, Any]:
        """Return a verb's answer."""
        text = await self.run(verb, request, failed=failed, timeout_s=timeout_s)
        try:
            return parse_answer(text)
        except ValueError as error:
            raise OutcomeUnknown(f"{failed}, as far as is known: {error}") from error

    @asynccontextmanager
    async def starting(self, verb: str, request: dict[str, Any] | None,
                       failed: str) -> AsyncIterator["Starting"]:
        """Start a verb that will say that it is ready."""
        text = "" if request is None else json.dumps(request) + "\n"
        command = verb_command(verb, text=text)
        async with AsyncExitStack() as stack:
            talk = await stack.enter_async_context(self.node.transport.converse(
                self.name, command))
            yield Starting(self, command, talk, stack, failed)

    @asynccontextmanager
    async def attended(self, failed: str) -> AsyncIterator["Attendant"]:
        """Give a mover that answers one request after another."""
        async with self.starting("attend", None, failed) as starting:
            yield Attendant(self.name, await starting.ready())

    @asynccontextmanager
    async def converse(self, verb: str, request: dict[str, Any],
                       *words: str) -> AsyncIterator[Conversation]:
        """Start a verb that is told more lines later; it must be there, see `ask`."""
        command = verb_command(verb, *words, text=json.dumps(request) + "\n")
        async with self.node.transport.converse(self.name, command) as talk:
            yield talk


class Starting:
    """A verb that was started and may not be ready yet; several start at a time so."""

    def __init__(self, mover: Mover, command: Command, talk: Conversation, stack: AsyncExitStack,
                 failed: str) -> None:
        self._mover, self._command, self._failed = mover, command, failed
        self._talk, self._stack = talk, stack

    async def ready(self) -> Conversation:
        """Return the conversation once it is; the mover is put there where it is not."""
        if await self._is_ready():
            return self._talk
        reply = await self._talk.outcome(LAST_WORD_S)
        if reply.exit_status != NOT_THERE:
            raise failure(reply, self._failed)
        await self._mover.install()
        self._talk = await self._stack.enter_async_context(
            self._mover.node.transport.converse(self._mover.name, self._command))
        if not await self._is_ready():
            raise failure(await self._talk.outcome(LAST_WORD_S), self._failed)
        return self._talk

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(READY_S):
                return await is_ready(self._talk)
        except TimeoutError:    # nothing was asked of it yet
            raise Unavailable(f"{self._failed}: the mover on {self._mover.name} did not say within"
                              f" {READY_S:g} s that it is ready; it is tried again") from None


async def is_ready(talk: Conversation) -> bool:
    """Return whether a verb said that it is ready; what a login shell says before is no answer."""
    for _ in range(MOST_GREETINGS):
        line = await talk.receive()
        if line is None:
            return False
        with suppress(ValueError):
            if parse_json(line) == {"ready": True}:
                return True
    return False


class Attendant:
    """A mover that answers one request after another, over one conversation.

    Rule: an answer is that of its own question, by its number. Once one has not been heard, the
    session is over: nobody knows any more what has been done.
    """

    def __init__(self, name: str, talk: Conversation) -> None:
        self.name, self._talk = name, talk
        self._number = 0
        self._is_over = False

    async def ask(self, verb: str, request: dict[str, Any], *, failed: str,
                  timeout_s: float = 60.0) -> dict[str, Any]:
        """Return a verb's answer; errors as a mover's own."""
        if self._is_over:
            raise Unavailable(f"{failed}: {self.name} was not asked any more, since an earlier"
                              " answer of its mover was not heard; it is tried again")
        self._number += 1
        self._talk.send(json.dumps({"number": self._number, "verb": verb, "request": request}))
        self._is_over = True    # until the answer is here, whatever ends the waiting for it
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._talk.receive()
        except TimeoutError:
            raise OutcomeUnknown(f"{failed}, as far as is known: {self.name} did not answer within"
                                 f" {timeout_s:g} s; it is looked at again") from None
        if line is None:
            raise failure(await self._talk.outcome(LAST_WORD_S), failed)
        return self._parse(line, failed)

    def _parse(self, line: str, failed: str) -> dict[str, Any]:
        try:
            told = parse_json(line)
            if told["number"] != self._number:
                raise ValueError(f"an answer to question {told['number']}, not to {self._number}")
            self._is_over = False
            if "failed" in told:
                broken = told["failed"]
                raise failure(Reply(int(broken["status"]), "", json.dumps(broken)), failed)
            answer: dict[str, Any] = told["answer"]
            return answer
        except (KeyError, TypeError, ValueError) as error:
            raise OutcomeUnknown(f"{failed}, as far as is known: {self.name} answered with"
                                 f" something that is not understood ({error})") from error
