"""Spans of one cycle: what the controller waits for, and which programs run on both hosts.

A span of the controller is a request to a mover, from the line that is sent to the line that
answers it; a span of a host is a program, from its first instant to its last. All are read from one
clock, because all hosts of the lab share one kernel.
"""

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from controller.transport.base import Command, Conversation, Reply
from controller.transport.ssh import SshTransport

CONTROLLER = "controller"


class Span(NamedTuple):
    """Something that took time, and where."""

    lane: str
    name: str
    from_s: float
    to_s: float

    @property
    def lasted_s(self) -> float:
        """Return how long it took."""
        return self.to_s - self.from_s


class Spans:
    """The controller's spans while it is recording."""

    def __init__(self) -> None:
        self.found: list[Span] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record every conversation that any transport has while the block lasts."""
        plain = SshTransport.converse

        @asynccontextmanager
        async def converse(transport: SshTransport, node: str,
                           command: Command) -> AsyncIterator[Conversation]:
            verb = verb_of(command.argv)
            began_s = time.monotonic()
            async with plain(transport, node, command) as talk:
                self._add(f"{node}: open a session for {verb}", began_s)
                yield Heard(self, node, verb, talk)

        type.__setattr__(SshTransport, "converse", converse)
        try:
            yield
        finally:
            type.__setattr__(SshTransport, "converse", plain)

    def _add(self, name: str, began_s: float) -> None:
        self.found.append(Span(CONTROLLER, name, began_s, time.monotonic()))

    def add(self, name: str, began_s: float) -> None:
        """Record what began then and ends now."""
        self._add(name, began_s)


class Heard:
    """A conversation that is passed on, and whose waits are recorded."""

    def __init__(self, spans: Spans, node: str, verb: str, talk: Conversation) -> None:
        self._spans, self._talk, self._where = spans, talk, f"{node}: {verb}"
        self._asked, self._asked_s = "start", time.monotonic()

    def send(self, line: str) -> None:
        """Send a line; the wait for its answer begins."""
        self._asked, self._asked_s = name_of(line), time.monotonic()
        self._talk.send(line)

    async def receive(self) -> str | None:
        """Return the next line, and record how long it took since the request."""
        line = await self._talk.receive()
        said = "" if line is None else name_of(line)
        step = f"{self._asked} → {said}" if said in ("progress", "read", "result") else self._asked
        self._spans.add(f"{self._where} {step}", self._asked_s)
        return line

    async def outcome(self, timeout_s: float) -> Reply:
        """Return how it ended."""
        began_s = time.monotonic()
        reply = await self._talk.outcome(timeout_s)
        self._spans.add(f"{self._where} exit", began_s)
        return reply


def verb_of(argv: tuple[str, ...]) -> str:
    """Return the mover's verb: the first word after the archive's hash."""
    words = [word for at, word in enumerate(argv) if at and len(argv[at - 1]) == 64]
    return words[0] if words else argv[0]


def name_of(line: str) -> str:
    """Return what a line asks for or answers: its verb, or its first key."""
    try:
        whole = json.loads(line)
    except ValueError:
        return "?"
    if "verb" in whole:
        return str(whole["verb"])
    return next((key for key in whole if key != "number"), "?")


def of_programs(file: Path, hosts: dict[str, str], from_s: float, to_s: float) -> list[Span]:
    """Return the programs that ran on hosts between two instants; hosts by network namespace."""
    found = []
    for line in file.read_text().splitlines():
        one = json.loads(line)
        host = hosts.get(one["network"])
        if host and from_s <= one["from_s"] <= to_s:
            found.append(Span(host, program_of(one), one["from_s"], one["to_s"]))
    return found


def program_of(one: dict[str, Any]) -> str:
    """Return a short name of a program: what it is, and its verb."""
    argv = [str(word) for word in one["argv"]]
    if not argv:
        return "?"
    name = Path(argv[0]).name
    if name == "virsh":
        words = [word for word in argv[1:] if not word.startswith(("-", "qemu"))]
        name = f"virsh {words[0].split()[0] if words else '(many)'}"
    elif any(".pyz" in word for word in argv):
        at = next(at for at, word in enumerate(argv) if ".pyz" in word)
        name = f"mover {argv[at + 1] if len(argv) > at + 1 else ''}"
    return f"{name} (fork)" if one["forked"] else name
