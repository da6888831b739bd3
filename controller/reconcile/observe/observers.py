"""
Observers ask nodes for their facts: by the clock, on their own events, and before anything is done.

One poller per declared node, a task of its own, so that a node that hangs delays no other:

            ┌─ poll interval (± 10 %) ─┐
    poller ─┤  an event of the node    ├─► one look ─► view ─► `heard`
            └─ somebody waits for it   ┘   (30s at most)

An event carries no content. It only makes the next look come at once, and marks what was seen
before as too old to act on: what it says could be lost, doubled or out of order, a look cannot.
Events less than 20ms apart make one look.

`look` waits for a look that BEGAN after the call: a look already under way may have read the node
before the change that the caller is asking about. A node without a poller (a single run has none)
is looked at by the caller itself. At most 64 looks run at a time.

BMCs are asked too, each by a poller of its own: every 45s while all is well, every 2s while its
host does not answer, or its last word was not On. So a host that has power again after it was
fenced is seen at once, and nobody's BMC is kept busy in peacetime. A single run asks none: with a
password that is wrong, each run would be one more try.

Silence, and an answer that makes no sense, are Unknown with a sentence. A poller ends when its node
leaves the specs; whoever waits for it is released. A crash leaves nothing: the next process looks
at every node before it decides.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from random import Random
from typing import Final, TypeVar
from xml.etree.ElementTree import ParseError
from zlib import crc32

from controller.model.estate import EstateSpec
from controller.model.facts import Fact, Known, NodeFacts, Unknown
from controller.model.failover.power import ON, PowerFacts
from controller.model.units import render_duration
from controller.providers.base import Provider
from controller.reconcile.observe.view import View
from controller.reconcile.tasks import is_set_within, now_s
from controller.telemetry import OFF, Telemetry

NOT_UNDERSTOOD: Final = (ValueError, KeyError, IndexError, TypeError, OSError, ParseError)
"""What reading an unexpected answer raises."""
COALESCE_S: Final = 0.02
"""Events this close together make one look."""
JITTER: Final = 0.1
AT_ONCE: Final = 64
"""Looks that run at the same time."""
PATIENCE_S: Final = 30.0
"""A look may take this long, whatever timeouts the provider has."""
LATE_S: Final = 5.0
"""What a witness says later than this counts neither as agreement nor as contentment."""
POWER_POLL_S: Final = 45.0
POWER_HASTE_S: Final = 2.0
POWERS_AT_ONCE: Final = 32

logger = logging.getLogger("hotsite")
T = TypeVar("T")


def _nobody(_: str, __: bool) -> None:
    """Report a look to nobody."""


class Observers:
    """Looks at nodes and puts their answers into the view."""

    def __init__(self, provider: Provider, view: View, clock: Callable[[], float],
                 dice: Random, heard: Callable[[str, bool], None] = _nobody,
                 telemetry: Telemetry = OFF,
                 heard_power: Callable[[str, bool], None] = _nobody) -> None:
        self._provider = provider
        self._view = view
        self._clock = clock
        self._dice = dice
        self._heard = heard
        """Called with the node after each look, and whether its answer is news."""
        self._telemetry = telemetry
        self._heard_power = heard_power
        """Called with the host after each look at its BMC, and whether its answer is news."""
        self._power_hurry: dict[str, asyncio.Event] = {}
        self._power_slots = asyncio.Semaphore(POWERS_AT_ONCE)
        self._hurry: dict[str, asyncio.Event] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._looked_s: dict[str, float] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self.poll_s = 10.0
        self.patience_s = PATIENCE_S
        self._witnesses: frozenset[str] = frozenset()

    def keep_pace(self, spec: EstateSpec, witnesses: Iterable[str] = ()) -> None:
        """Poll as often as the estate asks for, and before facts are too old to act on.

        Shapes: what one of the `witnesses` says too late counts as not said.
        """
        self.poll_s = min(spec.poll_s, spec.limits.fact_age_s / 2)
        self._witnesses = frozenset(witnesses)

    async def look(self, *nodes: str) -> None:
        """Return when each of `nodes` was looked at by a look that began after now.

        Shapes: a node that is not declared is passed over.
        """
        waiting: list[asyncio.Future[None] | asyncio.Task[None]] = []
        for node in nodes:
            if node in self._hurry:
                future = asyncio.get_running_loop().create_future()
                self._waiting.setdefault(node, []).append(future)
                self._hurry[node].set()
                waiting.append(future)
            elif node in self._view.nodes:
                waiting.append(asyncio.create_task(self._look_once(node)))
        if waiting:
            await asyncio.gather(*waiting)

    async def poll(self, node: str) -> None:
        """Look at `node` for ever: now, by the clock, and whenever it is hurried."""
        hurry = self._hurry[node] = asyncio.Event()
        try:
            while True:
                wait_s = self._looked_s.get(node, -COALESCE_S) + COALESCE_S - now_s()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)     # a burst of events makes one look
                hurry.clear()
                asked = self._waiting.pop(node, [])     # who asks from now on waits for the next
                try:
                    await self._look_once(node)
                finally:
                    self._release(asked)
                await is_set_within(
                    hurry, self.poll_s * (1.0 + JITTER * (2.0 * self._dice.random() - 1.0)))
        finally:
            self._hurry.pop(node, None)
            self._release(self._waiting.pop(node, []))

    async def poll_power(self, host: str) -> None:
        """Look at the BMC of `host` for ever: by the clock, and when the host falls silent."""
        hurry = self._power_hurry[host] = asyncio.Event()
        try:
            while True:
                hurry.clear()
                await self.look_at_powers(host)
                await is_set_within(hurry, self._power_pause_s(host))
        finally:
            self._power_hurry.pop(host, None)

    async def look_at_powers(self, *hosts: str) -> None:
        """Ask the BMCs of `hosts`, and put their answers into the view."""
        await asyncio.gather(*(self._look_at_power(host) for host in hosts
                               if host in self._view.powers))

    async def _look_at_power(self, host: str) -> None:
        async with self._power_slots:
            fact = await observe_power(self._provider, host, self._clock, self.patience_s)
        self._heard_power(host, self._view.put_power(host, fact))

    def _power_pause_s(self, host: str) -> float:
        """Return how long it is until a BMC is asked again; spread over the hosts, without dice."""
        fact = self._view.power(host) if host in self._view.powers else None
        odd = isinstance(fact, Known) and not fact.value.refusal and fact.value.state != ON
        if odd or not self._view.answers(host):
            return POWER_HASTE_S
        return POWER_POLL_S * (1.0 - JITTER + 2.0 * JITTER * (crc32(host.encode()) % 100) / 100)

    async def listen(self) -> None:
        """Hurry the poller of each node that the provider reports an event of."""
        async for node in self._provider.watch():
            self._view.mark_heard(node)
            if node in self._hurry:
                self._hurry[node].set()

    async def _look_once(self, node: str) -> None:
        """Ask the provider once, and put its answer into the view."""
        async with self._slots:
            begun_at, begun_s = self._clock(), now_s()
            with self._telemetry.span("cycle"), self._telemetry.span("observe", node=node):
                fact = await observe(self._provider, node, self._clock, self.patience_s)
        self._looked_s[node] = now_s()
        took_s = self._looked_s[node] - begun_s
        if node in self._witnesses and took_s > LATE_S and isinstance(fact, Known):
            fact = Unknown(f"{node} answers {took_s:.0f} s late, which counts as silence",
                           self._clock(), fact.value, fact.observed_at)
        self._telemetry.polled(took_s, answered=isinstance(fact, Known))
        if not isinstance(fact, Known) and node in self._power_hurry:
            self._power_hurry[node].set()
        self._heard(node, self._view.put(node, fact, begun_at))

    @staticmethod
    def _release(futures: list[asyncio.Future[None]]) -> None:
        """Wake everyone who waits for one of `futures`."""
        for future in futures:
            if not future.done():
                future.set_result(None)


async def observe(provider: Provider, node: str, clock: Callable[[], float],
                  patience_s: float = PATIENCE_S) -> Fact[NodeFacts]:
    """Return the answer of one look at `node`; silence and nonsense are Unknown."""
    return await _understood(lambda: provider.observe(node), node, clock, patience_s)


async def observe_power(provider: Provider, host: str, clock: Callable[[], float],
                        patience_s: float = PATIENCE_S) -> Fact[PowerFacts]:
    """Return the answer of the BMC of `host`; silence and nonsense are Unknown."""
    return await _understood(lambda: provider.observe_power(host), f"the BMC of {host}", clock,
                             patience_s)


async def _understood(ask: Callable[[], Awaitable[Fact[T]]], who: str,
                      clock: Callable[[], float], patience_s: float) -> Fact[T]:
    """Return an answer; where none comes in time, or none that makes sense, say so."""
    try:
        async with asyncio.timeout(patience_s):
            return await ask()
    except TimeoutError:
        return Unknown(f"{who} did not answer within {render_duration(patience_s)}", clock())
    except NOT_UNDERSTOOD as error:
        logger.exception("the answer of %s was not understood", who)
        return Unknown(f"the answer of {who} was not understood ({type(error).__name__}:"
                       f" {' '.join(str(error).split())})", clock())
