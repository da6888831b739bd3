"""
To fence a host: to cut its power by its BMC, and to believe it only when the power reads Off.

    read ──► Off, OFF_READS times in a row ──────────────────────────► fenced
      ▲  ├─► Off for the first time                    read again
      │  ├─► no answer, or one without sense           neither counts nor resets
      │  ├─► never a connection, for 10 s              given up: most BMCs die with their site
      │  ├─► another state, nothing sent yet           ForceOff
      │  ├─► On, 15 s after it was taken               ForceOff once more: it was forgotten
      │  ├─► On, 3 s after it was turned down          ForceOff once more: it was not ready
      │  └─► anything else, such as PoweringOff        it may still come
      └──────────── every second, for a minute

What a BMC answers to ForceOff proves nothing, good or bad: 409 and 400 may mean that the host is
off already, 202 that it will be, 204 and nothing happens. Only the state counts, and of its words
only one: PoweringOff and null are not off.

    what is said                       what is then true
    none raised                        the host had no power at two moments
    Refused       nothing was sent     and waiting does not help: credentials, certificate, spec
    Unavailable   nothing was sent     it was not reached, or made no sense for a minute
    OutcomeUnknown                     ForceOff was sent, and the host is not proven off

Where it must begin at once, nothing is sent that was not sent within a few seconds: its host may be
back by then, and well. Whoever ordered it decides anew.

Off is a moment: a person, or a rule for when power returns, may switch the host on again. So the
state is read on afterwards, by those who watch it.
"""

import asyncio
from typing import Final, NamedTuple, Protocol

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.model.failover.power import OFF, ON, PowerFacts
from controller.transport.base import NoConnection

FORCE_OFF: Final = "ForceOff"


class Timing(NamedTuple):
    """How fast a fence goes, in seconds."""

    poll_s: float = 1.0
    forgotten_s: float = 15.0
    refused_s: float = 3.0
    limit_s: float = 60.0
    unreached_s: float = 10.0
    """A BMC that takes no connection for so long is given up: it lost its power with the host."""


USUAL: Final = Timing()


class PowerSwitch(Protocol):
    """The BMC of one host."""

    async def read(self) -> PowerFacts:
        """Return what it says now.

        Errors: Refused, Unavailable.
        """
        ...

    async def force_off(self) -> tuple[bool, str]:
        """Ask it to cut the power; return whether it took that, and its answer in words.

        Errors: Refused, Unavailable: it was not asked; OutcomeUnknown.
        """
        ...


class Fence:
    """One fencing of one host."""

    def __init__(self, host: str, switch: PowerSwitch, timing: Timing = USUAL,
                 begin_s: float | None = None) -> None:
        """Prepare; `begin_s` is how long after its order ForceOff may first be sent."""
        self._host = host
        self._switch = switch
        self._timing = timing
        self._begin_s = begin_s
        self._state = ""
        self._said = ""
        self._sent = False
        self._taken = False
        self._heard = False
        self._begun_s = 0.0
        self._again_s = 0.0
        """When ForceOff is sent next, unless the host is off by then."""

    async def run(self) -> str:
        """Cut the power and return a sentence once it is proven; the errors are those above."""
        now_s = asyncio.get_running_loop().time
        self._again_s = self._begun_s = now_s()
        try:
            async with asyncio.timeout(self._timing.limit_s):
                while not await self._is_off(now_s()):
                    late = self._begin_s is not None and now_s() + self._timing.poll_s > (
                        self._begun_s + self._begin_s)
                    if late and not self._sent and self._state != OFF:
                        raise Unavailable(f"{self._host} is not fenced: its BMC could not be told"
                                          f" at once: {self._said or self._state}")
                    await asyncio.sleep(self._timing.poll_s)
        except TimeoutError:
            raise self._unproven() from None
        how = "cut the power of" if self._sent else "found no power on"
        return (f"{how} {self._host}: its BMC reads Off twice, after"
                f" {now_s() - self._begun_s:.1f} s")

    async def _is_off(self, now_s: float) -> bool:
        """Read once, send ForceOff if that is due, and return whether the host is proven off."""
        try:
            facts = await self._switch.read()
            self._heard = True
            if facts.is_off:
                return True
            self._state = facts.state or "no word"
            if facts.state != OFF and now_s >= self._again_s and (
                    not self._taken or facts.state == ON):
                await self._cut(facts, now_s)
        except Refused as error:
            if self._sent:
                raise OutcomeUnknown(f"{self._host} was told to cut its power, and is not proven"
                                     f" off: {error}") from error
            raise
        except ActionError as error:
            self._said = str(error)
            self._heard = self._heard or not isinstance(error, NoConnection)
            tried_s = asyncio.get_running_loop().time() - self._begun_s
            if not self._heard and tried_s >= self._timing.unreached_s:
                raise Unavailable(f"{self._host} is not fenced: {error}") from error
        return False

    async def _cut(self, facts: PowerFacts, now_s: float) -> None:
        """Send ForceOff."""
        if facts.resets and FORCE_OFF not in facts.resets:
            raise Refused(f"the BMC of {self._host} offers no {FORCE_OFF}, only"
                          f" {', '.join(facts.resets)}: it cannot cut the power")
        self._again_s = now_s + self._timing.refused_s
        before, self._sent = self._sent, True   # also if it breaks off, or is turned down
        try:
            self._taken, self._said = await self._switch.force_off()
        except (Refused, Unavailable):
            self._sent = before
            raise
        if self._taken:
            self._again_s = now_s + self._timing.forgotten_s

    def _unproven(self) -> ActionError:
        """Return the error of a time limit that has passed."""
        limit = f"within {self._timing.limit_s:g} s"
        last = f"; last it said: {self._said}" if self._said else ""
        if not self._sent:
            return Unavailable(f"{self._host} is not fenced: its BMC gave no answer that tells its"
                               f" power {limit}{last}")
        return OutcomeUnknown(f"{self._host} is not proven off: its BMC was told to cut the power"
                              f" and still says {self._state} {limit}{last}")
