"""Copies in the loop: their priority, when the loop wakes for them, what counts as progress."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from controller.plan.actions.action import Cause
from controller.plan.actions.replica import ReplicateDomain, SweepLeftovers
from controller.plan.steps.plan import Plan
from controller.reconcile.act.queue import Priority, priority_of
from controller.reconcile.act.worker import COPIES_AT_ONCE, Mandate, Workers, is_next
from controller.reconcile.decide.attempts import Attempts
from controller.reconcile.decide.context import ContextBuilder
from controller.reconcile.tasks import soonest_s
from controller.store.store import Store
from tests.reconcile.stage import lab

COPY = ReplicateDomain(
    target="Replica/sql", node="paris-1", reason="it is due", domain="sql", uuid="u", to="milan-1",
    path="/p", disks=(), replication_address="a", to_replication_address="b", sequence=12)


@pytest.mark.parametrize(("cause", "priority"), [
    (Cause.ROUTINE, Priority.PERIODIC), (Cause.COMMIT, Priority.PERIODIC),
    (Cause.DRIFT, Priority.HEAL), (Cause.HUMAN, Priority.HUMAN)])
def test_a_copy_is_as_urgent_as_its_cause(cause: Cause, priority: Priority) -> None:
    assert priority_of(replace(COPY, cause=cause)) is priority


def next_edge(due_at: float | None, now_s: float) -> float | None:
    store = Store.open(":memory:")
    context = ContextBuilder(store, lambda: now_s)
    context.declare(lab())
    found = context.next_edge(Plan("r1", due_at=due_at))
    store.close()
    return found


def test_the_loop_wakes_when_a_copy_is_due() -> None:
    assert next_edge(None, 1000.0) is None
    assert next_edge(1234.5, 1000.0) == 1234.5


def test_an_instant_that_passed_while_it_was_decided_is_not_missed() -> None:
    assert next_edge(999.9, 1000.0) == 1000.0
    assert soonest_s(60.0, (1000.0, 1000.0), (None, 5.0)) == 0.001
    assert soonest_s(60.0, (1007.0, 1000.0), (9.0, 5.0)) == 4.0


def test_the_next_point_is_progress_and_the_same_again_is_none() -> None:
    sweep: Any = SweepLeftovers(target="Host/paris-1", node="paris-1", reason="x", leftovers=())
    assert is_next(COPY, replace(COPY, sequence=13))
    assert not is_next(COPY, COPY)
    assert not is_next(sweep, sweep)


def test_copies_leave_room_for_a_dead_machine() -> None:
    async def body() -> None:
        nothing: Any = None
        work = Workers(nothing, nothing, nothing, nothing, Attempts(), Mandate(), seed=1)
        for number in range(2 * COPIES_AT_ONCE):
            work._queue.offer(f"Replica/vm{number}", Priority.HUMAN, 0.0)
        taken = [work.take() for _ in range(2 * COPIES_AT_ONCE)]
        assert len([name for name in taken if name]) == COPIES_AT_ONCE
        work._queue.offer("VirtualMachine/sql", Priority.PERIODIC, 0.0)
        assert work.take() == "VirtualMachine/sql"

    asyncio.run(body())
