"""Who conducts: one controller's machine, and two loops over one estate, on virtual time."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from controller.errors import Refused, Unavailable
from controller.model.desired import Desired
from controller.model.failover.spec import FailoverSpec, LeaseSpec
from controller.providers.simulated.virtual_time import run_virtual
from controller.reconcile.lease import TABLE, Candidate, Mode, Signal
from controller.reconcile.loop import Loop
from controller.reconcile.once import Once
from controller.reconcile.report.event import EventKind
from controller.store.lease import LeaseState, Term
from controller.store.store import Store
from tests.reconcile.stage import Show, Stage, lab, with_estate

TTL_S = 15.0
SQL = "VirtualMachine/sql"


def time_s() -> float:
    """Return the virtual time."""
    return asyncio.get_running_loop().time()


@dataclass
class Place:
    """One place that keeps a lease, in memory; `cut` names who cannot reach it."""

    holder: str = ""
    term: int = 0
    until: float = 0.0
    cut: frozenset[str] = frozenset()


class Client:
    """One controller's way to a place."""

    place = "witness aws"

    def __init__(self, at: Place, name: str) -> None:
        self.at, self.name = at, name

    def _said(self, *, granted: bool) -> LeaseState:
        if self.name in self.at.cut:
            raise Unavailable("aws cannot be reached")
        left_s = max(0.0, self.at.until - time_s()) if self.at.holder else 0.0
        return LeaseState(self.at.holder, self.at.term, granted, left_s, "")

    async def take(self, holder: str, ttl_s: float, above: int = 0) -> LeaseState:
        """Take it if it is free."""
        before = self._said(granted=False)
        if before.left_s > 0 and self.at.holder != holder:
            return before
        if before.left_s == 0 or self.at.holder != holder:
            self.at.term = max(self.at.term, above) + 1
        self.at.holder, self.at.until = holder, time_s() + ttl_s * 1.01
        return self._said(granted=True)

    async def renew(self, holder: str, term: int, ttl_s: float) -> LeaseState:
        """Keep it."""
        before = self._said(granted=False)
        if (self.at.holder, self.at.term) != (holder, term) or before.left_s == 0:
            return before
        self.at.until = time_s() + ttl_s * 1.01
        return self._said(granted=True)

    async def release(self, holder: str, term: int) -> LeaseState:
        """Give it up."""
        self._said(granted=False)
        if (self.at.holder, self.at.term) == (holder, term):
            self.at.holder = ""
        return self._said(granted=False)

    async def read(self) -> LeaseState:
        """Return whose it is."""
        return self._said(granted=False)

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


def test_the_table_is_whole_for_every_mode_that_acts() -> None:
    for mode in (Mode.CONDUCTING, Mode.ADRIFT):
        assert TABLE[mode, Signal.OVERTAKEN] is Mode.REPLACED
        assert TABLE[mode, Signal.DENIED] is Mode.STANDBY
    assert {mode for (mode, signal) in TABLE if signal is Signal.GRANTED} == {
        Mode.STANDBY, Mode.CONDUCTING, Mode.ADRIFT}     # never out of replaced
    assert [key for key, mode in TABLE.items() if mode is Mode.ADRIFT] == [
        (Mode.CONDUCTING, Signal.RAN_OUT)]


def test_without_a_declared_lease_there_is_no_term_and_everything_is_allowed() -> None:
    async def story() -> None:
        one = candidate("paris", Place())
        one.declare(lab())
        assert (one.mode, one.may_act(), one.current(), one.view(), one.as_json()) == (
            None, True, None, None, None)
        async with one.conducting():
            pass
    virtually(story())


def test_the_first_conducts_and_the_second_looks_on_until_the_first_is_gone() -> None:
    async def story() -> None:
        at = Place()
        paris, milan = candidate("paris", at), candidate("milan", at)
        async with kept(milan):
            async with kept(paris):
                await asyncio.sleep(60)
                # whoever came first; milan was started first
                holder, other = (paris, milan) if paris.may_act() else (milan, paris)
                assert holder.current() == Term(1, holder.holder)
                with pytest.raises(Refused, match=f"{holder.holder} conducts in term 1"):
                    other.current()
                view = other.view()
                assert view is not None
                assert not view.held
    virtually(story())


def test_a_standby_takes_over_when_the_lease_has_run_out_and_not_before() -> None:
    async def story() -> None:
        at, hosts = Place(), Hosts()
        paris, milan = candidate("paris", at, hosts), candidate("milan", at, hosts, standby=True)
        async with kept(milan):
            async with kept(paris):
                await asyncio.sleep(61)
                assert (paris.mode, milan.mode) == (Mode.CONDUCTING, Mode.STANDBY)
                assert "paris conducts in term 1" in milan.sentence()
            died = time_s()
            while not milan.may_act():
                assert not (paris.mode is Mode.CONDUCTING and milan.mode is Mode.CONDUCTING)
                await asyncio.sleep(0.05)
            assert paris.mode is Mode.ADRIFT
            assert time_s() - died <= TTL_S + 5
            assert milan.current() == Term(2, "milan") == hosts.known
    virtually(story())


def test_a_standby_leaves_a_lease_that_was_given_up_to_the_other_for_a_while() -> None:
    async def story() -> None:
        at = Place()
        paris, milan = candidate("paris", at), candidate("milan", at, standby=True)
        async with kept(milan):
            await asyncio.sleep(TTL_S - 1)
            assert not milan.may_act()
            async with kept(paris):
                await asyncio.sleep(5)
                assert paris.may_act()
                await paris.release()
            again = candidate("paris/2", at)
            async with kept(again):
                await asyncio.sleep(40)
                assert (again.current(), milan.may_act()) == (Term(2, "paris/2"), False)
                await again.release()
            await asyncio.sleep(TTL_S + 2)
            assert milan.current() == Term(3, "milan")
    virtually(story())


def test_a_holder_whose_place_is_silent_goes_on_below_failover_and_says_why() -> None:
    async def story() -> None:
        at = Place()
        paris = candidate("paris", at)
        changes: list[Mode | None] = []
        async with kept(paris):
            await asyncio.sleep(20)
            paris.on_change = lambda: changes.append(paris.mode)
            at.cut = frozenset({"paris"})
            await asyncio.sleep(TTL_S)
            assert (paris.mode, paris.may_act()) == (Mode.ADRIFT, True)
            view = paris.view()
            assert view is not None
            assert not view.held
            assert "aws cannot be reached" in view.sentence
            assert Mode.ADRIFT in changes
            at.cut = frozenset()
            await asyncio.sleep(6)
            assert paris.current() == Term(2, "paris")     # it ran out there, too: a new term
    virtually(story())


def test_a_host_s_refusal_ends_it_and_only_a_later_holder_at_the_place_makes_it_a_standby() -> None:
    async def story() -> None:
        at = Place()
        paris = candidate("paris", at)
        async with kept(paris):
            await asyncio.sleep(20)
            paris.overtaken("milan-1", Term(9, "milan"))
            assert (paris.mode, paris.may_act()) == (Mode.REPLACED, False)
            with pytest.raises(Refused, match="milan-1 refuses this controller's term 1: milan"):
                paris.current()
            await asyncio.sleep(300)
            assert paris.mode is Mode.REPLACED      # its place knows nobody else
            at.holder, at.term, at.until = "milan", 9, time_s() + 30
            await asyncio.sleep(2)
            assert paris.mode is Mode.STANDBY
            await asyncio.sleep(40)
            assert paris.current() == Term(10, "paris")
    virtually(story())


def test_its_own_next_term_is_no_refusal() -> None:
    async def story() -> None:
        paris = candidate("paris", Place())
        async with kept(paris):
            await asyncio.sleep(1)
            paris.overtaken("milan-1", Term(2, "paris"))
            assert paris.may_act()
    virtually(story())


def test_a_place_that_forgot_its_terms_gives_one_above_what_hosts_know_after_a_wait() -> None:
    async def story() -> None:
        at, hosts = Place(), Hosts()
        hosts.known = Term(17, "milan")
        paris = candidate("paris", at, hosts)
        async with kept(paris):
            await asyncio.sleep(TTL_S - 1)
            assert not paris.may_act()
            assert "term 17 of milan" in paris.sentence()
            await asyncio.sleep(3)
            assert paris.current() == Term(18, "paris") == hosts.known
    virtually(story())


def test_what_asks_for_the_lease_while_another_has_it_is_refused() -> None:
    async def story() -> None:
        at = Place()
        async with kept(candidate("paris", at)):
            await asyncio.sleep(1)
            milan = candidate("milan", at)
            with pytest.raises(Refused, match="nothing was done: paris conducts in term 1"):
                async with milan.conducting():
                    pass
        at.holder = ""
        async with milan.conducting():
            assert milan.current() == Term(2, "milan")
        assert at.holder == ""
        at.cut = frozenset({"milan"})
        with pytest.raises(Refused, match="nobody knows who conducts"):
            async with milan.conducting():
                pass
    virtually(story())


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


def test_of_two_loops_one_heals_and_the_other_only_looks_and_takes_over() -> None:
    async def story() -> None:
        stage, at = Stage(leased()), Place()
        first, second = Two(stage, at, "paris"), Two(stage, at, "milan", standby=True)
        async with looping(second):
            async with looping(first):
                await first.settled()
                stage.estate.command("kill paris-1 sql")
                await first.until(lambda: bool(first.told(EventKind.OUTCOME, SQL)))
                await asyncio.sleep(5)
                assert second.told(EventKind.INTENT) == []
                rows = [row for row in first.store.events(50) if row.kind == "outcome"]
                assert {row.term for row in rows} == {1}
                status = second.store.status()
                assert status is not None
                assert status["lease"]["mode"] == "standby"
                at.cut = frozenset({"paris"})   # its last word cannot give the lease up
            stage.estate.command("kill paris-1 sql")
            await second.until(lambda: bool(second.told(EventKind.OUTCOME, SQL)))
            terms = {row.term for row in second.store.events(50) if row.kind == "outcome"}
            assert terms == {2}
            assert any("conducts in term 2" in one.sentence
                       for one in second.told(EventKind.LEASE))
    virtually(story())


def test_a_loop_that_is_replaced_stops_acting_and_tells_by_whom() -> None:
    async def story() -> None:
        stage, at = Stage(leased()), Place()
        show = Two(stage, at, "paris")
        async with looping(show):
            await show.settled()
            show.candidate.overtaken("milan-1", Term(5, "milan"))
            stage.estate.command("kill paris-1 sql")
            await asyncio.sleep(60)
            assert show.told(EventKind.INTENT) == []
            assert [one.sentence for one in show.told(EventKind.LEASE)][-1].startswith(
                "milan-1 refuses this controller's term 1: milan conducts in term 5")
    virtually(story())


def test_apply_is_refused_while_another_controller_conducts() -> None:
    async def story() -> None:
        stage, at = Stage(leased(), converged=False), Place("paris", 4, 1000.0)
        once = Once(stage, Store.open(":memory:"), stage.clock,
                    candidate=candidate("apply", at))
        plan = await once.plan(leased())
        with pytest.raises(Refused, match="nothing was done: paris conducts in term 4"):
            await once.run(granted_by="me", shown=plan, answered=True)
        assert stage.applied == []
        at.holder = ""
        assert (await once.run(granted_by="me", shown=plan, answered=True)).done
        await stage.close()
    virtually(story())
