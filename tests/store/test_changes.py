"""Readers are told of every change of what they show, whoever makes it, and of nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from controller.model.condition import Condition, ConditionType, Status
from controller.plan.survey.context import Suspension
from controller.store.for_readers.changes import Change
from controller.store.for_readers.declared import DeclaredDocument
from controller.store.journal import Outcome
from controller.store.store import Store

SQL = "VirtualMachine/sql"
PAUSE = Suspension(SQL, "ann", "a test", 9e9)
READY = Condition(SQL, ConditionType.READY, Status.TRUE, "Running", "it runs on paris-1")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "state.db")


def declare(store: Store, **documents: str) -> None:
    store.save_declared({f"VirtualMachine/{name}": DeclaredDocument("vms.yaml:1", {"memory": size})
                         for name, size in documents.items()})


WRITES: list[tuple[Callable[[Store], object], Change]] = [
    (lambda store: store.save_conditions((READY,), 1.0), Change("condition", SQL)),
    (lambda store: store.save_seen("paris-1", "{}", 1.0), Change("seen", "paris-1")),
    (lambda store: store.suspend(PAUSE), Change("suspension", SQL)),
    (lambda store: store.save_status({"at": 1.0}), Change("status", "")),
    (lambda store: store.save_progress(SQL, "12%", 1.0), Change("progress", SQL)),
    (lambda store: declare(store, sql="1GiB"), Change("declared", SQL)),
]


@pytest.mark.parametrize(("write", "change"), WRITES, ids=[one.kind for _, one in WRITES])
def test_another_process_reads_what_changed(store: Store, tmp_path: Path,
                                            write: Callable[[Store], object],
                                            change: Change) -> None:
    with Store.open(tmp_path / "state.db") as reader:
        number, before = reader.changes_since(0)
        assert (number, before) == (0, ())
        write(store)
        number, changes = reader.changes_since(0)
        assert changes == (change,)
        assert reader.changes_since(number) == (number, ())


def test_what_stays_as_it_was_is_not_told(store: Store) -> None:
    for at in (1.0, 2.0):
        store.save_conditions((READY,), at)
        store.save_seen("paris-1", "{}", at)
        declare(store, sql="1GiB")
        number, changes = store.changes_since(0)
        assert (number, len(changes)) == (3, 3)


def test_what_went_is_told_and_found_nowhere(store: Store) -> None:
    store.save_conditions((READY,), 1.0)
    declare(store, sql="1GiB", mail="1GiB")
    number, _ = store.changes_since(0)
    store.save_conditions((), 2.0)
    declare(store, mail="1GiB")
    _, changes = store.changes_since(number)
    assert set(changes) == {Change("condition", SQL), Change("declared", SQL)}
    assert store.conditions((SQL,)) == ()
    assert set(store.declared((SQL, "VirtualMachine/mail"))) == {"VirtualMachine/mail"}


def test_a_rename_is_told_under_both_names(store: Store) -> None:
    store.suspend(PAUSE)
    number, _ = store.changes_since(0)
    store.rename({SQL: "VirtualMachine/prod"}, {})
    _, changes = store.changes_since(number)
    assert {Change("suspension", SQL), Change("suspension", "VirtualMachine/prod")} <= set(changes)


def test_work_is_told_when_it_begins_and_when_it_ends(store: Store) -> None:
    number, _ = store.changes_since(0)
    intent = store.intend("start:VirtualMachine/sql@paris-1", "start", SQL, "paris-1", "r",
                          "it is off", 1.0)
    number, changes = store.changes_since(number)
    assert Change("work", "") in changes
    store.conclude(intent, Outcome.DONE, "started", 2.0)
    assert Change("work", "") in store.changes_since(number)[1]


def test_more_objects_than_one_question_holds(store: Store) -> None:
    names = tuple(f"VirtualMachine/vm-{number}" for number in range(1200))
    store.save_conditions(tuple(Condition(name, ConditionType.READY, Status.TRUE, "Running", "x")
                                for name in names), 1.0)
    assert len(store.conditions(names)) == len(store.changes_since(0)[1]) == 1200
