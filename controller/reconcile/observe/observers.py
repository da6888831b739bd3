"""Eyes: each node is asked for its facts by the clock, by its own events, and when it matters.

Rule 1: an event carries no content; it only makes the next look come at once.
Rule 2: a node that does not answer in time is Unknown, with a sentence.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Final
from xml.etree.ElementTree import ParseError

from controller.model.estate import EstateSpec
from controller.model.facts import Fact, Known, NodeFacts, Unknown
from controller.model.units import render_duration
from controller.providers.base import Provider
from controller.reconcile.observe.view import View
from controller.reconcile.tasks import is_set_within
from controller.telemetry import OFF, Telemetry

NOT_UNDERSTOOD: Final = (ValueError, KeyError, IndexError, TypeError, OSError, ParseError)
"""What an answer that is not as expected makes its reader raise."""
COALESCE_S: Final = 0.02
"""Events this close together make one look."""
JITTER: Final = 0.1
AT_ONCE: Final = 64
"""Looks that run at the same time."""
PATIENCE_S: Final = 30.0
"""A look may take this long, whatever the provider thinks of it."""


logger = logging.getLogger("hotsite")


class Observers:
    """Looks at nodes and puts what they say into the view."""

    def __init__(self, provider: Provider, view: View, clock: Callable[[], float],
                 dice: Random, heard: Callable[[str, bool], None],
                 telemetry: Telemetry = OFF) -> None:
        self._provider = provider
        self._view = view
        self._clock = clock
        self._dice = dice
        self._heard = heard
        self._telemetry = telemetry
        self._hurry: dict[str, asyncio.Event] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._looked_s: dict[str, float] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self.poll_s = 10.0
        self.patience_s = PATIENCE_S

    def hurry(self, node: str) -> None:
        """Look at `node` at once: something happened there."""
        self._view.mark_heard(node)
        if node in self._hurry:
            self._hurry[node].set()

    def keep_pace(self, spec: EstateSpec) -> None:
        """Look at every node as often as the estate asks for, and before its facts are too old."""
        self.poll_s = min(spec.poll_s, spec.limits.fact_age_s / 2)

    async def look(self, *nodes: str) -> None:
        """Return when each of `nodes` has been looked at by a look that began after now."""
        waiting = []
        for node in nodes:
            if node in self._hurry:
                future = asyncio.get_running_loop().create_future()
                self._waiting.setdefault(node, []).append(future)
                self._hurry[node].set()
                waiting.append(future)
        if waiting:
            await asyncio.gather(*waiting)

    async def attend(self, node: str) -> None:
        """Look at `node` for ever: now, by the clock, and whenever it is hurried."""
        hurry = self._hurry[node] = asyncio.Event()
        try:
            while True:
                await self._settle(node)
                hurry.clear()
                with self._answering(node):
                    await self._look_once(node)
                pause_s = self.poll_s * (1.0 + JITTER * (2.0 * self._dice.random() - 1.0))
                await is_set_within(hurry, pause_s)
        finally:
            self._hurry.pop(node, None)
            self._release(self._waiting.pop(node, []))

    async def listen(self) -> None:
        """Hurry the nodes that the provider names, until it has no more to say."""
        async for node in self._provider.watch():
            self.hurry(node)

    async def _look_once(self, node: str) -> None:
        """Ask the provider once and take in what it says."""
        async with self._slots:
            begun_at = self._clock()
            begun_s = asyncio.get_running_loop().time()
            with self._telemetry.span("cycle"), self._telemetry.span("observe", node=node):
                fact = await observe(self._provider, node, self._clock, self.patience_s)
        self._looked_s[node] = asyncio.get_running_loop().time()
        self._telemetry.polled(self._looked_s[node] - begun_s, answered=isinstance(fact, Known))
        self._heard(node, self._view.put(node, fact, begun_at))

    async def _settle(self, node: str) -> None:
        """Let a burst of events pass when the last look is only just over."""
        last_s = self._looked_s.get(node)
        if last_s is not None:
            wait_s = last_s + COALESCE_S - asyncio.get_running_loop().time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)

    @contextmanager
    def _answering(self, node: str) -> Iterator[None]:
        """Release those who asked before this look began, also when it fails."""
        asked = self._waiting.pop(node, [])
        try:
            yield
        finally:
            self._release(asked)

    @staticmethod
    def _release(futures: list[asyncio.Future[None]]) -> None:
        """Let everyone in `futures` go on."""
        for future in futures:
            if not future.done():
                future.set_result(None)


async def observe(provider: Provider, node: str, clock: Callable[[], float],
                  patience_s: float = PATIENCE_S) -> Fact[NodeFacts]:
    """Return what one look at `node` says; silence and what makes no sense are Unknown."""
    try:
        async with asyncio.timeout(patience_s):
            return await provider.observe(node)
    except TimeoutError:
        return Unknown(f"{node} did not answer within {render_duration(patience_s)}", clock())
    except NOT_UNDERSTOOD as error:
        logger.exception("the answer of %s was not understood", node)
        return Unknown(f"the answer of {node} was not understood ({type(error).__name__}:"
                       f" {' '.join(str(error).split())})", clock())
