"""Boots are learnt from the journal and from health, and outlive the loop."""

from controller.model.condition import Condition, ConditionType, Status
from controller.plan.actions.action import Cause
from controller.plan.steps.plan import Plan
from controller.plan.survey.context import Boot
from controller.reconcile.decide.boot_memory import BootMemory
from controller.store.journal import Outcome
from controller.store.memory import Memory
from controller.store.store import Store
from tests.plan import builders as b


def promote(store: Store, name: str, begun_at: float, ended_at: float,
            outcome: Outcome = Outcome.DONE) -> None:
    target = f"VirtualMachine/{name}"
    intent = store.intend(f"promote:{target}@milan-1", "promote", target, "milan-1", "r1", "lost",
                          begun_at, Cause.DRIFT)
    store.conclude(intent, outcome, "it runs", ended_at)


def healthy(name: str, status: Status = Status.TRUE) -> Plan:
    return Plan("r1", conditions=(Condition(
        f"VirtualMachine/{name}", ConditionType.HEALTHY, status, "Serves", "it runs", "r1"),))


def learnt(store: Store) -> BootMemory:
    memory = BootMemory(store)
    memory.read()
    memory.learn(store.promotions(0.0))
    return memory


def test_what_a_failover_took_is_learnt_from_the_journal_and_outlives_it() -> None:
    store = Store.open(":memory:")
    promote(store, "sql", b.NOW_S, b.NOW_S + 4)
    promote(store, "web", b.NOW_S + 10, b.NOW_S + 12, Outcome.REFUSED)
    learnt(store).record(Plan("r1"), b.NOW_S + 20)
    later = BootMemory(store)
    later.read()
    assert later.boots == {"sql": Boot(4.0, b.NOW_S)}


def test_the_first_health_after_a_start_is_its_boot_and_no_later_one() -> None:
    store = Store.open(":memory:")
    promote(store, "sql", b.NOW_S, b.NOW_S + 4)
    memory = learnt(store)
    memory.record(healthy("sql", Status.UNKNOWN), b.NOW_S + 20)
    assert memory.boots["sql"].boot_s is None
    memory.record(healthy("sql"), b.NOW_S + 30)
    memory.record(healthy("sql"), b.NOW_S + 40)
    memory.learn(store.promotions(0.0))
    assert memory.boots == {"sql": Boot(4.0, b.NOW_S, 30.0)}


def test_a_health_that_comes_a_day_later_is_no_boot() -> None:
    store = Store.open(":memory:")
    promote(store, "sql", b.NOW_S, b.NOW_S + 4)
    memory = learnt(store)
    memory.record(healthy("sql"), b.NOW_S + 86400)
    assert memory.boots["sql"].boot_s is None


def test_a_memory_that_is_not_understood_is_none() -> None:
    store = Store.open(":memory:")
    store.remember(Memory.BOOT, {"sql": "[1, 2]", "web": "no", "old": "[1.0, 2.0, null]"})
    memory = BootMemory(store)
    memory.read()
    assert memory.boots == {"old": Boot(1.0, 2.0)}


def test_a_vm_that_is_renamed_keeps_its_boots() -> None:
    store = Store.open(":memory:")
    promote(store, "sql", b.NOW_S, b.NOW_S + 4)
    learnt(store).record(Plan("r1"), b.NOW_S)
    store.rename({"VirtualMachine/sql": "VirtualMachine/ledger"}, {})
    memory = learnt(store)
    assert memory.boots == {"ledger": Boot(4.0, b.NOW_S)}
