"""
Which controller conducts: this one's side of the lease, and what it may do in each mode.

    mode         what it knows                                       what it may do
    ----------------------------------------------------------------------------------------------
    standby      it does not have the lease                          look; nothing is changed
    conducting   it has the lease, by its own count                  all that the gates allow
    adrift       it had it last, and could not renew it in time      what is below `failover`
    replaced     a host refused its term: another conducts           look; nothing is changed

Why adrift goes on: the place of the lease is one machine, and its loss must not stop the healing of
two sites. Nobody who could conduct instead is known. If there is somebody, every host was told of
it before the first command, and refuses the next one of ours: that ends it. What cannot be undone
by the next look (revoking, fencing, promoting, deleting) needs the lease itself, fresh.

Why replaced does not simply ask for the lease again: hosts and the place contradict each other
then, and two controllers with a place each would overtake one another for ever. It waits until its
own place knows of a later holder, which makes it an ordinary standby, or for a person to start it
anew.

A new term is told to the hosts before anything is done in it. If one of them knows a higher term,
the place has forgotten what it gave, and the holder of that term may still act: ours is given up,
its time is waited for, and the lease is taken anew, above that term.

`--standby` prefers the other controller: it takes at once a lease that ran out, but one that was
given up or never taken only after a time to live, in which the other may start again.

The lease counts from before it was asked for, by the clock that goes on during sleep. Nothing here
is stored: a controller that starts again has another name, and waits like any other.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from typing import Any, Final

from controller.errors import ActionError, Refused
from controller.model.desired import Desired
from controller.plan.survey.context import LeaseView
from controller.reconcile.tasks import cancel, is_set_within
from controller.store.lease import Lease, LeaseState, Term

RENEWALS: Final = 3
"""How often it is asked for within its time to live."""
POLL_S: Final = 1.0
"""How often a standby asks."""
ANNOUNCE_S: Final = 3.0
"""How long hosts may take to hear of a new term; later ones learn it with their first command."""
RELEASE_S: Final = 2.0


class Mode(StrEnum):
    """What this controller knows of the lease."""

    STANDBY = "standby"
    CONDUCTING = "conducting"
    ADRIFT = "adrift"
    REPLACED = "replaced"


class Signal(StrEnum):
    """What it learns."""

    GRANTED = "granted"
    """The place says that it is ours."""
    DENIED = "denied"
    """The place says that it is not."""
    RAN_OUT = "ran out"
    """By our own count."""
    OVERTAKEN = "overtaken"
    """A host knows a higher term."""
    CAUGHT_UP = "caught up"
    """The place knows of another holder, in the term by which we were overtaken or a later one."""


TABLE: Final[Mapping[tuple[Mode, Signal], Mode]] = {
    (Mode.STANDBY, Signal.GRANTED): Mode.CONDUCTING,
    (Mode.STANDBY, Signal.DENIED): Mode.STANDBY,
    (Mode.CONDUCTING, Signal.GRANTED): Mode.CONDUCTING,
    (Mode.CONDUCTING, Signal.DENIED): Mode.STANDBY,
    (Mode.CONDUCTING, Signal.RAN_OUT): Mode.ADRIFT,
    (Mode.CONDUCTING, Signal.OVERTAKEN): Mode.REPLACED,
    (Mode.ADRIFT, Signal.GRANTED): Mode.CONDUCTING,
    (Mode.ADRIFT, Signal.DENIED): Mode.STANDBY,
    (Mode.ADRIFT, Signal.OVERTAKEN): Mode.REPLACED,
    (Mode.REPLACED, Signal.DENIED): Mode.REPLACED,
    (Mode.REPLACED, Signal.CAUGHT_UP): Mode.STANDBY,
}
"""Every other pair changes nothing."""

MakeLease = Callable[[Desired], Lease | None]
Announce = Callable[[tuple[str, ...], Term, float], Awaitable[Term | None]]


class Candidate:
    """This controller, as one of those that may conduct."""

    def __init__(self, holder: str, boottime: Callable[[], float],
                 make: MakeLease = lambda desired: None, announce: Announce | None = None, *,
                 standby: bool = False, machine_uuid: str = "") -> None:
        self.holder = holder
        self.machine_uuid = machine_uuid
        self._boottime = boottime
        self._make = make
        self._announce = announce
        self._standby = standby
        self._lease: Lease | None = None
        self._old: tuple[Lease, int] | None = None
        self._declared: object = None
        self._nodes: tuple[str, ...] = ()
        self._ttl_s = 0.0
        self._drift = 0.0
        self._mode = Mode.STANDBY
        self._term = 0
        self._highest = 0
        self._fresh_until = 0.0
        self._not_before = 0.0
        self._free_since: float | None = None
        self._place_says: LeaseState | None = None
        self._silence = ""
        self._by: tuple[str, Term] | None = None
        self._wake = asyncio.Event()
        self.on_change: Callable[[], None] = lambda: None
        """Called whenever the mode or the term has changed."""

    @property
    def mode(self) -> Mode | None:
        """Return the mode now; None where no lease is declared.

        Shapes: a standby stays one when a commit takes the lease away: the other may still act.
        """
        if self._lease is None:
            return Mode.STANDBY if self._standby else None
        if self._mode is Mode.CONDUCTING and self._boottime() >= self._fresh_until:
            self._learn(Signal.RAN_OUT)
        return self._mode

    def may_act(self) -> bool:
        """Return whether anything may be changed."""
        return self.mode in {None, Mode.CONDUCTING, Mode.ADRIFT}

    def current(self) -> Term | None:
        """Return the term that commands carry; None where no lease is declared.

        Errors: Refused when nothing may be changed.
        """
        if self.mode is None:
            return None
        if not self.may_act():
            raise Refused(self.sentence())
        return Term(self._term, self.holder)

    def term(self) -> int:
        """Return the term for the journal; 0 where no lease is declared."""
        return self._term if self._lease is not None else 0

    def is_sure(self) -> bool:
        """Return whether all is well: this controller conducts, or knows who does."""
        return self.mode in {None, Mode.CONDUCTING} or (
            self.mode is Mode.STANDBY and not self._silence and self._lease is not None)

    def overtaken(self, node: str, by: Term) -> None:
        """Learn that a node refused our term for another: nothing is done from now on."""
        if by.holder == self.holder:
            return      # our own next term: this command was on its way
        self._by = (node, by)
        self._highest = max(self._highest, by.number)
        self._learn(Signal.OVERTAKEN)
        self._wake.set()

    def view(self) -> LeaseView | None:
        """Return the lease as decisions need it; None where none is declared."""
        if self.mode is None:
            return None
        held, said = self.mode is Mode.CONDUCTING, self._place_says
        other = "" if said is None or said.holder == self.holder else said.holder
        if self._mode is Mode.REPLACED and self._by is not None:
            other = self._by[1].holder
        return LeaseView(held, self._term, self.sentence(), self.holder if held else other)

    def as_json(self) -> dict[str, Any] | None:
        """Return the lease for the status; None where none is declared."""
        if self.mode is None:
            return None
        return {"mode": str(self.mode), "term": self._term, "holder": self.holder,
                "place": self._lease.place if self._lease is not None else "",
                "sentence": self.sentence()}

    def sentence(self) -> str:
        """Return who conducts, and why this controller does or does not."""
        if self._lease is None and self._standby:
            return "no lease is declared any more, and another may act: this standby only looks"
        if self._lease is None:
            return "no lease is declared: this controller always conducts"
        said = self._place_says
        match self.mode:
            case Mode.CONDUCTING:
                return f"this controller conducts in term {self._term}, by {self._lease.place}"
            case Mode.ADRIFT:
                return (f"the lease of term {self._term} could not be renewed"
                        f" ({self._silence or 'it ran out'}): nothing from `failover` on is done")
            case Mode.REPLACED if self._by is not None:
                node, by = self._by
                return (f"{node} refuses this controller's term {self._term}: {by.holder} conducts"
                        f" in term {by.number}; nothing is changed from here any more")
        if self._silence:
            return f"nobody knows who conducts ({self._silence}): this controller only looks"
        if self._boottime() < self._not_before and self._by is not None:
            node, by = self._by
            return (f"{node} knows term {by.number} of {by.holder}, of which {self._lease.place}"
                    " has no note: it may still act, so its time is waited for")
        if said is not None and said.holder and said.left_s > 0:
            return (f"{said.holder} conducts in term {said.term}, by {self._lease.place}: this"
                    " controller only looks")
        return f"nobody conducts, by {self._lease.place}: this controller only looks"

    def declare(self, desired: Desired) -> None:
        """Follow new specs; another place, or another lease, is asked anew."""
        failover = desired.estate.spec.failover
        declared = (desired.estate.name, failover.lease, min(desired.witnesses, default=None))
        self._nodes = (*desired.hosts, *desired.switches, *desired.witnesses)
        self._drift = failover.guard.drift
        if declared == self._declared:
            return
        self._declared = declared
        if self._lease is not None:
            self._old = (self._lease, self._term if self.may_act() else 0)
        self._lease = self._make(desired)
        self._ttl_s = failover.lease.ttl_s if failover.lease else 0.0
        self._mode, self._place_says, self._silence = Mode.STANDBY, None, ""
        self._highest, self._term = max(self._highest, self._term), 0
        self._free_since = None
        self._wake.set()
        if self._old is not None:
            self.on_change()

    async def keep(self) -> None:
        """Take the lease whenever it can be had, and renew it, for ever."""
        while True:
            await self.turn()
            await is_set_within(self._wake, self._pause_s())

    async def turn(self) -> None:
        """Ask the place once, and take in what it says."""
        self._wake.clear()
        if self._old is not None:
            (lease, term), self._old = self._old, None
            await self._give_up(lease, term)
            await lease.close()
        if (lease_now := self._lease) is None or self._boottime() < self._not_before:
            return
        asked = self._boottime()
        try:
            limit_s = self._ttl_s / RENEWALS
            if self._mode is Mode.CONDUCTING:
                limit_s = min(limit_s, self._fresh_until - asked)
            async with asyncio.timeout(max(limit_s, 0.05)):
                said = await self._question(lease_now)
        except (ActionError, TimeoutError) as error:
            if lease_now is self._lease:
                began = not self._silence
                self._silence = str(error) or f"{lease_now.place} did not answer in time"
                if self.mode is not None and began:
                    self.on_change()
            return
        if lease_now is self._lease:
            await self._take_in(lease_now, said, asked)

    async def read(self) -> tuple[str, LeaseState] | None:
        """Return where the lease is kept, and whose it is; None where none is declared.

        Errors: as `Lease.read`.
        """
        if self._lease is None:
            return None
        try:
            return self._lease.place, await self._lease.read()
        finally:
            await self._lease.close()

    async def release(self) -> None:
        """Give the lease up, so that another need not wait for its end."""
        if self._lease is not None:
            await self._give_up(self._lease, self._term if self.may_act() else 0)
            self._mode = Mode.STANDBY
            await self._lease.close()

    @asynccontextmanager
    async def conducting(self, borrowed: Term | None = None) -> AsyncIterator[None]:
        """Have the lease for as long as this lasts; `borrowed`: it is our own loop's, in this term.

        Errors: Refused when another controller conducts, or the place does not answer.
        """
        if borrowed is not None and self._lease is not None:
            self.holder, self._term = borrowed.holder, borrowed.number
            self._mode, self._fresh_until = Mode.CONDUCTING, self._boottime() + self._ttl_s
            yield
            return
        await self.turn()
        if not self.may_act():
            raise Refused(f"nothing was done: {self.sentence()}")
        keeping = asyncio.create_task(self.keep())
        try:
            yield
        finally:
            await cancel(keeping)
            await self.release()

    async def _question(self, lease: Lease) -> LeaseState:
        """Ask what the mode asks."""
        if self._mode is Mode.REPLACED:
            return await lease.read()
        if self._mode is Mode.CONDUCTING:
            said = await lease.renew(self.holder, self._term, self._ttl_s)
            if said.granted or said.left_s > 0:
                return said
        elif self._mode is Mode.STANDBY and self._standby:
            said = await lease.read()
            if said.left_s > 0 or self._waits_for_the_other(said):
                return said
        return await lease.take(self.holder, self._ttl_s, max(self._highest, self._term))

    def _waits_for_the_other(self, said: LeaseState) -> bool:
        """Return whether a standby leaves a free lease to the other controller for a while."""
        if said.holder:
            return False    # it ran out: the other is gone
        if self._free_since is None:
            self._free_since = self._boottime()
        return self._boottime() < self._free_since + self._ttl_s

    async def _take_in(self, lease: Lease, said: LeaseState, asked: float) -> None:
        """Learn from an answer."""
        was = self._place_says
        news = self._silence or was is None or (said.holder, said.term) != (was.holder, was.term)
        self._silence, self._place_says = "", said
        if said.left_s > 0 or said.granted:
            self._free_since = None
        if said.granted and self._mode is not Mode.REPLACED:
            if said.term != self._term and not await self._is_news_to_hosts(lease, said):
                return
            self._term, self._fresh_until = said.term, asked + self._ttl_s
            self._learn(Signal.GRANTED)
        elif self._by is not None and said.term >= self._by[1].number and (
                said.holder != self.holder) and self._mode is Mode.REPLACED:
            self._learn(Signal.CAUGHT_UP)
        else:
            self._learn(Signal.DENIED)
        if news:
            self.on_change()

    async def _is_news_to_hosts(self, lease: Lease, said: LeaseState) -> bool:
        """Tell every node a new term; where one knows a higher one, give the lease up again."""
        if self._announce is None:
            return True
        by = await self._announce(self._nodes, Term(said.term, self.holder),
                                  min(ANNOUNCE_S, self._ttl_s / RENEWALS))
        if by is None:
            return True
        self._highest, self._by = max(self._highest, by.number), ("a host", by)
        await self._give_up(lease, said.term)
        self._not_before = self._boottime() + self._ttl_s * (1 + self._drift)
        self._learn(Signal.DENIED)
        self.on_change()
        return False

    async def _give_up(self, lease: Lease, term: int) -> None:
        """Release a lease that we may have; where that fails, it runs out."""
        if term:
            with suppress(ActionError, TimeoutError):
                async with asyncio.timeout(RELEASE_S):
                    await lease.release(self.holder, term)

    def _pause_s(self) -> float | None:
        """Return how long it is until the place should be asked again; None: until woken."""
        if self._lease is None:
            return None
        now = self._boottime()
        if now < self._not_before:
            return self._not_before - now
        if self._mode is Mode.CONDUCTING:
            again_s = self._ttl_s / (RENEWALS if not self._silence else 4 * RENEWALS)
            return max(0.01, min(again_s, self._fresh_until - now))
        left_s = self._place_says.left_s if self._place_says and not self._silence else POLL_S
        return max(0.05, min(POLL_S, self._ttl_s / RENEWALS, left_s or POLL_S))

    def _learn(self, signal: Signal) -> None:
        """Follow the table."""
        before = self._mode
        self._mode = TABLE.get((before, signal), before)
        if self._mode is not before:
            self.on_change()


def alone() -> Candidate:
    """Return the only controller of an estate: no lease is asked for, and it always conducts."""
    return Candidate("", lambda: 0.0)
