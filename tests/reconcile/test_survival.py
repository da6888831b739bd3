"""The loop when it is itself in trouble: bugs, a full disk, a crash, the end."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import pytest

from controller.errors import JournalUnavailable
from controller.plan.actions.action import Action
from controller.providers.simulated.virtual_time import epoch_clock, run_virtual
from controller.reconcile.report.event import EventKind
from controller.store.journal import Outcome
from controller.store.seen import Seen
from controller.store.store import Store
from tests.reconcile.stage import Show, Stage, lab, playing, reporting

SQL = "VirtualMachine/sql"
START_SQL = "start:VirtualMachine/sql@paris-1"


def test_one_object_that_breaks_the_program_does_not_keep_others_from_healing() -> None:
    async def explode(action: Action) -> None:
        if action.target == SQL:
            raise ZeroDivisionError("a bug in the hands")

    async def play() -> None:
        async with playing(lab()) as show:
            await show.settled()
            show.stage.meddle = explode
            show.strike("kill paris-1 sql")
            show.stage.estate.command("kill paris-1 mail")
            await show.until(lambda: show.state_of("paris-1", "mail") == "running")
            assert show.told(EventKind.FAULT, SQL)
            show.stage.meddle = None
            await show.settled()
            assert not show.store.open_intents()

    run_virtual(play())


class FullStore(Store):
    """A store whose disk can be full."""

    full = False

    def intend(self, *words: object, **more: object) -> int:
        """Refuse while the disk is full."""
        self._check()
        return super().intend(*words, **more)

    def note(self, *words: object, **more: object) -> int:
        """Refuse while the disk is full."""
        self._check()
        return super().note(*words, **more)

    def seen(self) -> Mapping[str, Seen]:
        """Refuse while the disk is full."""
        self._check()
        return super().seen()

    def _check(self) -> None:
        if self.full:
            raise JournalUnavailable("the disk is full: free some space")


def test_without_a_journal_nothing_is_done_and_looking_goes_on() -> None:
    async def play() -> None:
        store = FullStore.open(":memory:")
        async with playing(lab(), store=store) as show:
            await show.settled()
            store.full = True
            show.strike("kill paris-1 sql")
            await asyncio.sleep(100)
            assert show.stage.applied == []
            assert "the disk is full" in str(show.loop.journal_fault)
            assert [event.sentence for event in show.told(EventKind.JOURNAL)] == [
                "the disk is full: free some space"]
            looks = len(show.stage.looks)
            await asyncio.sleep(30)
            assert len(show.stage.looks) >= looks + 2 * len(lab().hosts)
            store.full = False
            await show.until(lambda: show.state_of("paris-1", "sql") == "running", 10.0)
            assert show.loop.journal_fault is None

    run_virtual(play())


def test_what_a_crash_left_open_is_taken_over_once_a_journal_that_failed_at_first_works() -> None:
    async def play() -> None:
        store = FullStore.open(":memory:")
        store.intend("start:VirtualMachine/sql@paris-1", "start", "VirtualMachine/sql", "paris-1",
                     "r0", "it was off", epoch_clock())
        store.full = True
        async with playing(lab(), store=store) as show:
            await asyncio.sleep(5)
            assert show.loop.journal_fault is not None
            store.full = False
            await show.until(lambda: store.open_intents() == (), 10.0)
            assert [event.target for event in show.told(EventKind.OUTCOME)
                    if event.outcome == Outcome.ABANDONED] == ["VirtualMachine/sql"]

    run_virtual(play())


def test_a_fence_cut_off_by_a_crash_waits_for_no_answer_of_the_host() -> None:
    async def play() -> None:
        store = Store.open(":memory:")
        store.intend("fence:Host/paris-2@paris-2", "fence", "Host/paris-2", "paris-2", "r0",
                     "it is silent", epoch_clock())
        stage = Stage(reporting(lab()))
        stage.estate.command("power paris-2 off")
        async with playing(reporting(lab()), store=store, stage=stage) as show:
            await show.until(lambda: not store.open_intents(), 20.0)
            (told,) = [event.sentence for event in show.told(EventKind.OUTCOME)]
            assert told == ("the controller ended in the middle of fence; the BMC of paris-2 is"
                            " read anew, and tells whether it has power")

    run_virtual(play())


def test_an_intent_left_open_by_a_crash_is_looked_into_before_anything_else() -> None:
    async def play() -> None:
        store = Store.open(":memory:")
        for vm in ("sql", "web"):
            store.intend(f"start:VirtualMachine/{vm}@paris-1", "start", f"VirtualMachine/{vm}",
                         "paris-1", "r0", "it was off", epoch_clock())
        stage = Stage(lab())
        stage.estate.command("kill paris-1 sql")
        async with playing(lab(), store=store, stage=stage) as show:
            await show.settled()
            told = {event.target: event.sentence for event in show.told(EventKind.OUTCOME)
                    if event.outcome == Outcome.ABANDONED}
            assert "not done" in told[SQL]
            assert "nothing is left of it to do" in told["VirtualMachine/web"]
            assert stage.applied == [START_SQL]
            assert store.open_intents() == ()

    run_virtual(play())


def test_an_open_intent_stays_open_while_its_node_does_not_answer() -> None:
    async def play() -> None:
        store = Store.open(":memory:")
        store.intend(START_SQL, "start", SQL, "paris-1", "r0", "it was off", epoch_clock())
        stage = Stage(lab())
        stage.estate.command("hang paris-1")
        async with playing(lab(), store=store, stage=stage) as show:
            await asyncio.sleep(60)
            assert [intent.action_id for intent in store.open_intents()] == [START_SQL]
            stage.estate.command("wake paris-1")
            await show.until(lambda: not store.open_intents())

    run_virtual(play())


def slow(seconds: float) -> Callable[[Action], Awaitable[None]]:
    """Return a hand that makes every action take longer."""

    async def wait(_: Action) -> None:
        await asyncio.sleep(seconds)

    return wait


async def stop_in_the_middle(show: Show, stage: Stage, *, twice: bool) -> float:
    """Kill a VM, stop the loop while it is being started, and return how long that took."""
    running = asyncio.create_task(show.loop.run())
    await show.settled()
    stage.meddle = slow(10.0)
    show.strike("kill paris-1 sql")
    await show.until(lambda: bool(show.stage.applied))
    begun_at = epoch_clock()
    show.loop.stop()
    if twice:
        await asyncio.sleep(1.0)
        show.loop.stop()
    await running
    return epoch_clock() - begun_at


@pytest.mark.parametrize("twice", [False, True])
def test_the_end_waits_for_what_runs_unless_it_is_asked_twice(twice: bool) -> None:
    async def play() -> None:
        stage, store = Stage(lab()), Store.open(":memory:")
        show = Show(stage, store)
        await show.loop.set_desired(lab())
        took_s = await stop_in_the_middle(show, stage, twice=twice)
        assert took_s < 2.0 if twice else 10.0 <= took_s < 20.0
        assert bool(store.open_intents()) is twice
        assert not [task for task in asyncio.all_tasks() if "forever" in repr(task)]
        await stage.close()

    run_virtual(play())
