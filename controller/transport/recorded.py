"""Replays what real programs once said, in order, and remembers what it was told to run.

A transcript is JSON: {"source": "program version", "recordings": [{"argv", "exit_status",
"stdout", "stderr"}, …]}.
"""

import json
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from controller.errors import Refused
from controller.transport.base import Aside, Command, Conversation, Endpoint, Reply


@dataclass(frozen=True, slots=True)
class Recording:
    """One command and what it said."""

    argv: tuple[str, ...]
    reply: Reply


def load_transcript(path: Path) -> tuple[Recording, ...]:
    """Return the recordings of one file.

    Errors: ValueError or KeyError for a file that is no transcript.
    """
    return tuple(
        Recording(tuple(row["argv"]), Reply(row["exit_status"], row["stdout"], row["stderr"]))
        for row in json.loads(path.read_text(encoding="utf-8"))["recordings"])


class RecordedTalk:
    """One recording as a conversation; `told` is what was said to it."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._lines = deque(reply.stdout.splitlines())
        self.told: list[str] = []

    def tell(self, line: str) -> None:
        """Remember it."""
        self.told.append(line)

    async def hear(self) -> str | None:
        """Return the next recorded line."""
        return self._lines.popleft() if self._lines else None

    async def outcome(self, timeout_s: float) -> Reply:
        """Return how the recording ended."""
        return Reply(self._reply.exit_status, "", self._reply.stderr)


class RecordedTransport:
    """Every node replays the same recordings; one recording answers its command once.

    The last recording of a command answers it for ever. Answers to `ask` are taken in order.
    """

    def __init__(self, recordings: Iterable[Recording], answers: Iterable[str] = ()) -> None:
        self._replies: dict[tuple[str, ...], list[Reply]] = {}
        for recording in recordings:
            self._replies.setdefault(recording.argv, []).append(recording.reply)
        self._answers = list(answers)
        self._nodes: frozenset[str] = frozenset()
        self.told: list[tuple[str, Command]] = []
        self.asked: list[tuple[str, str]] = []

    def declare(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Learn the names."""
        self._nodes = frozenset(endpoint.name for endpoint in endpoints)

    async def run(self, node: str, command: Command) -> Reply:
        """Return what the command said when it was recorded; Refused where it was not."""
        self._check(node)
        self.told.append((node, command))
        replies = self._replies.get(command.argv)
        if not replies:
            raise Refused(f"no recording of {command.argv} on {node}")
        return replies.pop(0) if len(replies) > 1 else replies[0]

    async def run_on_new_connection(self, node: str, command: Command) -> Reply:
        """Return what the command said when it was recorded."""
        return await self.run(node, command)

    async def lines(self, node: str, command: Command) -> AsyncIterator[str]:
        """Yield the lines of the command's recording, and end."""
        for line in (await self.run(node, command)).stdout.splitlines():
            yield line

    @asynccontextmanager
    async def converse(self, node: str, command: Command) -> AsyncIterator[Conversation]:
        """Give a conversation that says the lines of the command's recording."""
        yield RecordedTalk(await self.run(node, command))

    async def relay(self, source: tuple[str, Command], sink: tuple[str, Command],
                    aside: Aside | None = None) -> tuple[Reply, Reply]:
        """Return what both commands said when they were recorded."""
        del aside
        return await self.run(*source), await self.run(*sink)

    async def ask(self, node: str, program: str, question: str, timeout_s: float) -> str:
        """Return the next recorded answer, whatever the program and the time."""
        del program, timeout_s
        self._check(node)
        self.asked.append((node, question))
        if not self._answers:
            raise Refused(f"no recorded answer is left for {node}")
        return self._answers.pop(0)

    async def close(self) -> None:
        """There is nothing to close."""

    def _check(self, node: str) -> None:
        if node not in self._nodes:
            raise Refused(f"{node} is not a declared host or switch")
