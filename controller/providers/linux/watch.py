"""Events from nodes: a watcher on each node reports that something happened, never what."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from controller.errors import ActionError
from controller.transport import resident
from controller.transport.base import Command, Transport
from controller.transport.retry import pauses

OPEN_S: Final = 10.0


class Watchers:
    """One watcher per declared node, started when somebody listens."""

    def __init__(self, transport: Transport, program: str) -> None:
        self._transport = transport
        self._command = Command(resident.ARGV, resident.render_program(program), OPEN_S)
        self._declared: frozenset[str] = frozenset()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._wanted = False
        # a dict, because it keeps the order and each node once
        self._news: dict[str, None] = {}
        self._new = asyncio.Event()

    def declare(self, nodes: frozenset[str]) -> None:
        """Watch exactly `nodes`, once somebody listens."""
        self._declared = nodes
        for node in self._tasks.keys() - nodes:
            self._tasks.pop(node).cancel()
        if self._wanted:
            for node in sorted(nodes - self._tasks.keys()):
                self._tasks[node] = asyncio.create_task(self._watch(node))

    async def news(self) -> AsyncIterator[str]:
        """Yield names of nodes for ever, to one listener."""
        self._wanted = True
        self.declare(self._declared)
        while True:
            await self._new.wait()
            self._new.clear()
            while self._news:
                node = next(iter(self._news))
                del self._news[node]
                yield node

    async def close(self) -> None:
        """Stop watching."""
        self._wanted = False
        tasks = list(self._tasks.values())
        self.declare(frozenset())
        await asyncio.gather(*tasks, return_exceptions=True)

    def _tell(self, node: str) -> None:
        self._news[node] = None
        self._new.set()

    async def _watch(self, node: str) -> None:
        """Keep a watcher running on a node; it writes a first line when it has started."""
        waits = pauses()
        while True:
            up = False
            with suppress(ActionError):  # unreachable for now: polls report that with a sentence
                async for _ in self._transport.lines(node, self._command):
                    up = True
                    self._tell(node)
            if up:
                self._tell(node)
                waits = pauses()
            await asyncio.sleep(next(waits))
