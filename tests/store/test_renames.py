"""What the journal keeps of an object follows the object's name."""

from controller.model.condition import Condition, ConditionType, Status
from controller.plan.survey.context import ReplicaRequest, RequestKind, Suspension
from controller.store.journal import Outcome
from controller.store.store import Store

SQL, PROD = "VirtualMachine/sql", "VirtualMachine/sql-prod"
NOW = {SQL: PROD, "Replica/sql": "Replica/sql-prod", "Host/paris-1": "Host/par-1"}
NODES = {"paris-1": "par-1"}


def stored() -> Store:
    """A store that knows sql on paris-1 from all sides."""
    store = Store.open(":memory:")
    begun = ("paris-1", "r1", "it is off", 1.0)
    intent = store.intend(f"start:{SQL}@paris-1", "start", SQL, *begun)
    store.conclude(intent, Outcome.DONE, "started", 2.0)
    store.intend(f"migrate:{SQL}@paris-1/milan-1", "migrate", SQL, *begun)
    store.suspend(Suspension(SQL, "ann", "a look", 900.0))
    store.request(ReplicaRequest("sql", RequestKind.VERIFY, "ann", 4.0))
    store.save_seen("paris-1", "{}", 5.0)
    store.mark_silent("paris-1")
    store.save_conditions((Condition(SQL, ConditionType.READY, Status.TRUE, "Running", "x"),), 6.0)
    return store


def test_everything_follows() -> None:
    store = stored()
    assert store.rename(NOW, NODES)
    assert {event.target for event in store.events(9)} == {PROD}
    assert {event.node for event in store.events(9)} == {"par-1"}
    assert store.open_intents()[0].action_id == f"migrate:{PROD}@paris-1/milan-1"
    assert list(store.repairs(0.0)) == [PROD]
    assert [one.target for one in store.suspensions(10.0)] == [PROD]
    assert [one.machine for one in store.requests()] == ["sql-prod"]
    assert list(store.seen()) == ["par-1"]
    assert store.silent() == {"par-1"}
    assert [(one.target, one.since_at) for one in store.conditions()] == [(PROD, 6.0)]
    again = Condition(PROD, ConditionType.READY, Status.TRUE, "Running", "x")
    assert store.save_conditions((again,), 7.0) == (), "it is no news"
    assert not store.rename(NOW, NODES), "a second time there is nothing left"


def test_of_two_pauses_the_one_that_ends_later_stays() -> None:
    for mine, other, left in ((900.0, 500.0, "ann"), (500.0, 900.0, "bob")):
        store = Store.open(":memory:")
        store.suspend(Suspension(SQL, "ann", "a look", mine))
        store.suspend(Suspension(PROD, "bob", "a change", other))
        store.rename(NOW, NODES)
        assert [(one.target, one.by, one.until_at) for one in store.suspensions(10.0)] == [
            (PROD, left, 900.0)]


def test_what_a_host_said_under_its_new_name_is_newer() -> None:
    store = stored()
    store.save_seen("par-1", '{"new": 1}', 9.0)
    store.rename(NOW, NODES)
    assert {node: seen.facts for node, seen in store.seen().items()} == {"par-1": '{"new": 1}'}
