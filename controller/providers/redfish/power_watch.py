"""
The power of one host through its BMC: the last answer as a fact, and ForceOff.

It is looked at all the time, slowly, and every second while it fences; both go through `read`, one
question at a time, and each answer replaces `fact`. So whoever fences and whoever watches know the
same, and a fence makes nobody wait: while it runs, `observe` returns what it has read last.

A reading of Off counts once a second at most, whoever asked for it, since some BMCs answer from a
cache. An answer without sense neither counts nor resets; any other state resets.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, NamedTuple

from controller.errors import ActionError, Refused
from controller.model.facts import Fact, Known, Unknown
from controller.model.failover.power import OFF, OFF_READS, PowerFacts
from controller.providers.redfish.fence import USUAL, Fence, Timing

APART: Final = 0.9
"""Two readings of Off count as two when they are this share of a fence's pause apart."""


class Reading(NamedTuple):
    """What a BMC says at one moment."""

    state: str
    """Empty where it tells none."""
    uuid: str = ""
    resets: tuple[str, ...] = ()


class PowerWatch(ABC):
    """Whatever can be asked of one host's power; `clock` gives epoch seconds."""

    def __init__(self, host: str, clock: Callable[[], float], timing: Timing = USUAL) -> None:
        self.host = host
        self.fact: Fact[PowerFacts] | None = None
        """What it said last; None: it was not asked yet."""
        self._clock = clock
        self._timing = timing
        self._fences = 0
        self._off_reads = 0
        self._off_since_at: float | None = None
        self._off_counted_s = 0.0

    @abstractmethod
    async def ask(self) -> Reading:
        """Return what the BMC says now.

        Errors: Refused, Unavailable.
        """

    @abstractmethod
    async def force_off(self) -> tuple[bool, str]:
        """Ask it to cut the power; return whether it took that, and its answer in words.

        Errors: Refused, Unavailable: it was not asked; OutcomeUnknown.
        """

    async def read(self) -> PowerFacts:
        """Return what it says now, and keep that as the fact.

        Errors: Refused, Unavailable; the fact stays as it is.
        """
        asked_at = self._clock()
        reading = await self.ask()
        now_s = asyncio.get_running_loop().time()
        if reading.state != OFF:
            self._off_reads, self._off_since_at = 0, None
        elif not self._off_reads or now_s - self._off_counted_s >= APART * self._timing.poll_s:
            self._off_since_at = asked_at if not self._off_reads else self._off_since_at
            self._off_reads = min(self._off_reads + 1, OFF_READS)
            self._off_counted_s = now_s
        facts = PowerFacts(reading.state, reading.uuid, reading.resets, self._off_reads,
                           self._off_since_at)
        self.fact = Known(facts, asked_at)
        return facts

    async def observe(self) -> Fact[PowerFacts]:
        """Return what it says now; during a fence, what that has read last."""
        if not self._fences:
            try:
                await self.read()
            except Refused as error:
                self.fact = Known(PowerFacts("", refusal=str(error)), self._clock())
            except ActionError as error:
                self.fact = self._unknown(str(error))
        return self.fact or self._unknown(f"the BMC of {self.host} has not answered yet")

    async def fence(self, begin_s: float | None = None) -> str:
        """Cut the host's power and return a sentence when that is proven; errors as in fence.py.

        Shapes: with `begin_s`, ForceOff is first sent so soon, or never.
        """
        self._fences += 1
        try:
            return await Fence(self.host, self, self._timing, begin_s).run()
        finally:
            self._fences -= 1

    def _unknown(self, reason: str) -> Unknown[PowerFacts]:
        """Return that it was not heard, with what it said before."""
        match self.fact:
            case Known(value=value, observed_at=at):
                return Unknown(reason, self._clock(), value, at)
            case Unknown() as before:
                return Unknown(reason, before.since_at, before.last, before.last_at)
        return Unknown(reason, self._clock())
