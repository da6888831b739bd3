"""Back-off: a failed action waits alone; neither emergencies nor starts wait with it."""

import asyncio

import pytest

from controller.errors import OutcomeUnknown, Refused, Unavailable
from controller.plan.actions.action import Action
from controller.plan.actions.machine import ReconfigureDomain, StartDomain
from controller.plan.actions.replica import RetirePoints
from controller.providers.simulated.virtual_time import epoch_clock, run_virtual
from controller.reconcile.act.queue import KeyedQueue, Priority
from controller.reconcile.decide.attempts import BACK_OFF_MOST_S, COPY_MOST_S, JITTER, BackOff
from tests.reconcile.stage import lab, playing, with_machine

START = StartDomain(target="VirtualMachine/sql", node="paris-1", reason="", domain="sql")
PATCH = ReconfigureDomain(target="VirtualMachine/sql", node="paris-1", reason="", domain="sql",
                          changes=(), live=True)
RETIRE = RetirePoints(target="Replica/sql", node="milan-1", reason="", path="/r", sequences=(1,))


def test_each_action_has_its_own_wait() -> None:
    waits = BackOff()
    for _ in range(12):
        waits.note(PATCH, "no route", 0.0)
    assert waits.rests(PATCH.id, BACK_OFF_MOST_S * (1 - JITTER) - 1)
    assert not waits.rests(START.id, 0.0)
    waits.note(START, "no route", 0.0)
    due_s = waits.next_due(0.0)
    assert due_s is not None
    assert due_s <= 1 + JITTER
    assert not waits.rests(START.id, due_s)


def test_a_copy_is_tried_again_sooner_than_all_else() -> None:
    waits = BackOff()
    for _ in range(12):
        waits.note(RETIRE, "cut off", 0.0)
    assert not waits.rests(RETIRE.id, COPY_MOST_S * (1 + JITTER))


def test_what_succeeded_or_is_wanted_no_longer_is_forgotten_and_a_commit_ends_all() -> None:
    waits = BackOff()
    waits.note(PATCH, "no route", 0.0)
    waits.keep_only([], 0.5)
    assert waits._by_id[PATCH.id].count == 1    # it may be wanted again before its time
    waits.keep_only([], 99.0)
    assert PATCH.id not in waits._by_id
    waits.note(PATCH, "no route", 99.0)
    waits.forget(PATCH.id)
    assert waits.resting(99.0) == {}
    waits.note(PATCH, "no route", 99.0)
    waits.clear()
    assert waits.next_due(0.0) is None


@pytest.mark.parametrize("priority", [Priority.HUMAN, Priority.EMERGENCY])
def test_a_person_and_an_emergency_pass_the_wait_of_what_was_less_urgent(
        priority: Priority) -> None:
    queue = KeyedQueue()
    queue.offer("sql", Priority.HEAL, 0.0)
    assert queue.take(0.0) == "sql"
    queue.retry("sql", 0.0)
    queue.offer("sql", Priority.COMMIT, 0.1)
    assert queue.take(0.1) is None
    queue.offer("sql", priority, 0.2)
    assert queue.take(0.2) == "sql"
    queue.retry("sql", 0.2)     # now it is that which failed
    queue.offer("sql", priority, 0.3)
    assert queue.take(0.3) is None


@pytest.mark.parametrize("error", [
    Unavailable("no route"), Refused("not so"), OutcomeUnknown("cut off")])
def test_a_vm_that_dies_is_started_at_once_whatever_else_of_it_keeps_failing(
        error: Exception) -> None:
    async def meddle(action: Action) -> None:
        if isinstance(action, ReconfigureDomain):
            raise error

    async def play() -> None:
        async with playing(lab()) as show:
            await show.settled()
            show.stage.meddle = meddle
            more = with_machine(lab(), "sql", "r2", memory_bytes=3 << 30)
            await show.loop.set_desired(more)
            await asyncio.sleep(400)    # by now it is tried every few minutes at most
            died_at = show.strike("kill paris-1 sql")
            await show.until(lambda: show.state_of("paris-1", "sql") == "running", 10)
            assert epoch_clock() - died_at < 5

    run_virtual(play())
