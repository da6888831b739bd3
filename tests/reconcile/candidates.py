"""Controllers that contend for a lease in memory, alone or with a loop each, on virtual time."""

import asyncio
import runpy
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.errors import Unavailable
from controller.model.desired import Desired
from controller.model.failover.spec import FailoverSpec, LeaseSpec
from controller.providers.simulated.virtual_time import run_virtual
from controller.reconcile.lease import Candidate
from controller.reconcile.loop import Loop
from controller.store.lease import LeaseState, Term
from controller.store.store import Store
from tests.reconcile.stage import Show, Stage, lab, with_estate

ROOT = Path(__file__).parent.parent.parent
TTL_S, DRIFT = 15.0, 0.01
PROGRAM = runpy.run_path(str(ROOT / "controller/remote/witness/lease.py"))


def time_s() -> float:
    """Return the virtual time."""
    return asyncio.get_running_loop().time()


@dataclass
class Place:
    """A place that keeps a lease, by the very program of witnesses; `cut`: who cannot reach it."""

    holder: str = ""
    term: int = 0
    until: float = 0.0
    """By its own clock, which never starts anew here."""
    cut: frozenset[str] = frozenset()
    rate: float = 1.0
    """How fast its clock is."""

    def now_s(self) -> float:
        """Return what its clock says."""
        return self.rate * time_s()

    def answer(self, name: str, **question: Any) -> LeaseState:
        """Return what the program answers to one controller."""
        if name in self.cut:
            raise Unavailable("aws cannot be reached")
        now_s = self.now_s()
        note = {"holder": self.holder, "term": self.term, "noted_s": 0.0, "drift": 0.0,
                "ttl_s": self.until, "boot_id": ""}
        new, granted, sentence = PROGRAM["decide"](note, question, now_s, "")
        if new is not None:
            note = new
            self.holder, self.term = note["holder"], note["term"]
            self.until = note["noted_s"] + note["ttl_s"] * (1 + note["drift"])
        return LeaseState(self.holder, self.term, granted,
                          PROGRAM["left_of"](note, now_s, ""), sentence)


class Client:
    """One controller's way to a place."""

    place = "witness aws"

    def __init__(self, at: Place, name: str) -> None:
        self.at, self.name = at, name

    async def take(self, holder: str, ttl_s: float, above: int = 0) -> LeaseState:
        """Take it if it is free."""
        return self.at.answer(self.name, verb="take", holder=holder, ttl_s=ttl_s, above=above,
                              drift=DRIFT)

    async def renew(self, holder: str, term: int, ttl_s: float) -> LeaseState:
        """Keep it."""
        return self.at.answer(self.name, verb="renew", holder=holder, term=term, ttl_s=ttl_s,
                              drift=DRIFT)

    async def release(self, holder: str, term: int) -> LeaseState:
        """Give it up."""
        return self.at.answer(self.name, verb="release", holder=holder, term=term)

    async def read(self) -> LeaseState:
        """Return whose it is."""
        return self.at.answer(self.name, verb="read")

    async def close(self) -> None:
        """Nothing was opened."""


def leased() -> Desired:
    """Return the lab's specs with a lease."""
    lease = LeaseSpec.model_validate({"ttl": f"{TTL_S:g}s"})
    return with_estate(lab(), failover=FailoverSpec(lease=lease))


class Hosts:
    """What hosts were told of terms."""

    def __init__(self) -> None:
        self.known: Term | None = None

    async def announce(self, nodes: tuple[str, ...], term: Term, limit_s: float) -> Term | None:
        """Note a higher term; refuse a lower one."""
        if self.known is not None and self.known.number > term.number:
            return self.known
        self.known = term
        return None


def candidate(name: str, at: Place, hosts: Hosts | None = None, *,
              standby: bool = False) -> Candidate:
    """Return a controller."""
    made = Candidate(name, time_s, lambda desired: Client(at, name) if (
        desired.estate.spec.failover.lease) else None, (hosts or Hosts()).announce,
        standby=standby)
    made.declare(leased())
    return made


@asynccontextmanager
async def kept(*candidates: Candidate) -> AsyncIterator[None]:
    """Have controllers ask for the lease until the block ends."""
    tasks = [asyncio.create_task(one.keep()) for one in candidates]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def virtually(story: Coroutine[Any, Any, None]) -> None:
    """Tell a story."""
    run_virtual(story)


class Two(Show):
    """One of two loops over one simulated estate."""

    def __init__(self, stage: Stage, at: Place, name: str, *, standby: bool = False) -> None:
        super().__init__(stage, Store.open(":memory:"))
        self.candidate = candidate(name, at, standby=standby)
        self.loop = Loop(stage, self.store, stage.clock, candidate=self.candidate)
        self.loop.add_listener(self.events.append)


@asynccontextmanager
async def looping(show: Show) -> AsyncIterator[None]:
    """Run a loop until the block ends, by a death: the lease is not given up."""
    await show.loop.set_desired(leased())
    running = asyncio.create_task(show.loop.run())
    try:
        yield
    finally:
        show.loop.stop()
        await running
