"""Since when removals wait: time without an observation does not count."""

import pytest

from controller.plan.compute import compute
from controller.reconcile.decide.history import History
from controller.store.store import Store
from tests.plan import builders as b

REMOVE = "remove:VirtualMachine/sql@paris-1"
NOW = b.small(limits={"deletes": 1})
SEEN = b.as_declared(b.small(b.vm("sql", deletion="delete")), {"sql": "paris-1"})


def wait_from(at: float, history: History) -> None:
    """Take in the plan in which the removal first waits."""
    history.note_look(at)
    history.record(compute(NOW, SEEN, b.APPLIED, b.NOW_S), NOW, SEEN, at)


@pytest.mark.parametrize(("later_s", "since_s"), [(60.0, 0.0), (170.0, 0.0), (3600.0, 3600.0)],
                         ids=["the next look", "a slow one", "asleep, or a clock that leapt"])
def test_a_leap_ends_no_grace(later_s: float, since_s: float) -> None:
    store = Store.open(":memory:")
    history = History(store)
    wait_from(b.NOW_S, history)
    history.note_look(b.NOW_S + later_s)
    assert history.waiting == {REMOVE: b.NOW_S + since_s}
    history.record(compute(NOW, SEEN, b.APPLIED, b.NOW_S), NOW, SEEN, b.NOW_S + later_s)
    again = History(store)
    again.read({})
    assert again.waiting == {REMOVE: b.NOW_S + since_s}
    store.close()


def test_a_grace_that_began_in_the_future_begins_anew_once() -> None:
    store = Store.open(":memory:")
    history = History(store)
    wait_from(b.NOW_S + 3600.0, history)    # the clock was set forward, and is set right again
    for later_s in (0.0, 60.0):
        history.note_look(b.NOW_S + later_s)
        history.record(compute(NOW, SEEN, b.APPLIED, b.NOW_S), NOW, SEEN, b.NOW_S + later_s)
        assert history.waiting == {REMOVE: b.NOW_S}
    again = History(store)
    again.read({})
    assert again.waiting == {REMOVE: b.NOW_S}
    store.close()
