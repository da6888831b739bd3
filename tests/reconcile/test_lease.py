"""Who conducts: one controller's machine, and two loops over one estate, on virtual time."""

import asyncio

import pytest

from controller.errors import Refused
from controller.plan.actions.fencing import FenceHost
from controller.reconcile.lease import TABLE, Mode, Signal
from controller.reconcile.once import Once
from controller.reconcile.report.event import EventKind
from controller.store.journal import Outcome
from controller.store.lease import Term
from controller.store.store import Store
from tests.reconcile.candidates import (
    TTL_S,
    Hosts,
    Place,
    Two,
    candidate,
    kept,
    leased,
    looping,
    time_s,
    virtually,
)
from tests.reconcile.stage import Stage, lab

SQL = "VirtualMachine/sql"


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
            assert view.holder == ""        # not it, and it knows of nobody else
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
            view = paris.view()
            assert view is not None
            assert view.holder == "milan"
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


def test_a_standby_whose_lease_a_commit_takes_away_does_not_begin_to_act() -> None:
    async def story() -> None:
        at = Place("paris", 3, 1e9)
        milan = candidate("milan", at, standby=True)
        async with kept(milan):
            await asyncio.sleep(1)
            milan.declare(lab())
            await asyncio.sleep(100)
            assert (milan.mode, milan.may_act(), milan.is_sure()) == (Mode.STANDBY, False, False)
            with pytest.raises(Refused, match="this standby only looks"):
                milan.current()
            at.holder = ""
            milan.declare(leased())
            await asyncio.sleep(2 * TTL_S)
            assert milan.current() == Term(4, "milan")
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


def test_a_holder_whose_place_forgot_it_goes_on_in_a_higher_term() -> None:
    async def story() -> None:
        at = Place(term=6)
        paris = candidate("paris", at)
        async with kept(paris):
            await asyncio.sleep(1)
            assert paris.current() == Term(7, "paris")
            at.holder, at.term, at.until = "", 0, 0.0
            await asyncio.sleep(TTL_S)
            assert paris.current() == Term(8, "paris")
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


def test_the_last_look_at_the_lease_is_just_before_an_action_that_fences_or_promotes() -> None:
    async def story() -> None:
        stage, at = Stage(leased()), Place()
        show = Two(stage, at, "paris")
        async with looping(show):
            await show.settled()
            at.cut = frozenset({"paris"})
            await asyncio.sleep(TTL_S + 1)
            attempt = await show.loop._applier.carry_out(FenceHost(
                target="Host/paris-1", node="paris-1", reason=""), "r1")
            assert attempt.outcome is Outcome.REFUSED
            assert "nothing from `failover` on is done" in attempt.sentence
            assert stage.applied == []
            stage.estate.command("kill paris-1 sql")
            await show.until(lambda: any(one.outcome == "done"
                                         for one in show.told(EventKind.OUTCOME, SQL)))
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


def test_apply_of_nothing_asks_for_no_lease_and_news_are_told_once() -> None:
    async def story() -> None:
        at = Place("paris", 4, 1000.0)
        stage = Stage(leased())
        once = Once(stage, Store.open(":memory:"), stage.clock, candidate=candidate("apply", at))
        plan = await once.plan(leased())
        assert plan.steps == ()
        assert (await once.run(granted_by="me", shown=plan, answered=True)).done == []
        show = Two(stage, at, "milan")
        async with looping(show):
            await asyncio.sleep(60)
            at.holder = ""
            await asyncio.sleep(60)
        said = [one.sentence for one in show.told(EventKind.LEASE)]
        assert len(said) == len(set(said)) == 2
    virtually(story())
