"""The context of a decision, as read from the store."""

import pytest

from controller.plan.survey.context import (
    REQUEST_LASTS_S,
    WHOLE_ESTATE,
    FailoverRequest,
    ReplicaRequest,
    RequestKind,
    Suspension,
)
from controller.plan.survey.expired import Expired
from controller.reconcile.decide.context import ContextBuilder
from controller.reconcile.report.news import News
from controller.store.store import Store
from tests.reconcile.stage import lab


def test_the_pause_of_a_damaged_journal_holds_the_estate_by_its_name() -> None:
    store = Store.open(":memory:")
    store.suspend(Suspension(WHOLE_ESTATE, "hotsite", "the journal was damaged", 9e9))
    context = ContextBuilder(store, lambda: 1.0)
    context.declare(lab())
    context.read()
    assert [one.target for one in context.build(()).suspensions] == ["Estate/lab"]


ORDERS = {
    "`hotsite failover paris`": FailoverRequest("Site/paris", "ann", "", 10.0),
    "`hotsite failover sql --planned`": FailoverRequest(
        "VirtualMachine/sql", "ann", "", 10.0, planned=True),
    "`hotsite failback paris`": FailoverRequest(
        "Site/paris", "ann", "", 10.0, planned=True, back=True),
    "`hotsite replica seed sql`": ReplicaRequest("sql", RequestKind.SEED, "ann", 10.0),
}


def save(store: Store, order: FailoverRequest | ReplicaRequest) -> None:
    """Save what a person asks for."""
    if isinstance(order, FailoverRequest):
        store.order_failover(order)
    else:
        store.request(order)


@pytest.mark.parametrize("words", ORDERS)
def test_what_could_not_be_begun_in_time_is_dropped_with_a_word(words: str) -> None:
    store, now = Store.open(":memory:"), [10.0 + REQUEST_LASTS_S - 1]
    save(store, ORDERS[words])
    context, news = ContextBuilder(store, lambda: now[0]), News(lambda: now[0])
    context.declare(lab())
    context.read()
    assert context.expired() == Expired()
    now[0] += 1
    (event,) = news.of_time(None, context.expired())
    assert event.sentence == (f"{words} of ann is dropped: within 1h00m nothing of it could be"
                              " begun; order it again, if it is still wanted")
    context.read()
    assert context.expired() == Expired()
    assert (store.failovers(), store.requests()) == ((), ())


@pytest.mark.parametrize("words", ORDERS)
def test_what_expired_while_nothing_ran_is_told_too_and_never_done(words: str) -> None:
    store, now = Store.open(":memory:"), 10.0 + 3 * REQUEST_LASTS_S
    save(store, ORDERS[words])
    context = ContextBuilder(store, lambda: now)
    context.declare(lab())
    context.read()
    built = context.build(())
    assert (built.failovers, built.requests) == ((), ())
    assert len(News(lambda: now).of_time(None, context.expired())) == 1


def test_an_order_that_was_given_anew_is_not_dropped_with_the_former_one() -> None:
    store, now = Store.open(":memory:"), [10.0 + REQUEST_LASTS_S]
    context = ContextBuilder(store, lambda: now[0])
    context.declare(lab())
    save(store, ORDERS["`hotsite replica seed sql`"])
    context.read()
    assert any(context.expired())
    newer = ReplicaRequest("sql", RequestKind.SEED, "ann", now[0])
    save(store, newer)
    context.read()
    assert store.requests() == (newer,)
