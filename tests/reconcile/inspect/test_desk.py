"""The desk: a row for each object, changed only where what it shows changed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.model.condition import Condition, ConditionType, Status
from controller.reconcile.inspect.desk import Desk
from controller.reconcile.inspect.head import verdict_of
from controller.reconcile.inspect.level import Level, level_of, state_of
from controller.store.store import Store
from tests.plan import builders as b
from tests.web.estates import SQL, estate, fill, opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path) as store:
        yield store


@pytest.fixture
def desk(store: Store) -> Desk:
    desk = Desk(store, lambda: b.NOW_S)
    assert desk.refresh()
    return desk


def test_a_row_tells_where_a_vm_is_and_how_old_its_copy_may_be(desk: Desk) -> None:
    row = desk.rows[SQL][1]
    assert row is not None
    assert (row["host"], row["site"], row["power"], row["level"]) == (
        "paris-1", "paris", "running", "fine")
    assert row["policy"] == "gold"
    assert row["point_at"] < b.NOW_S
    assert desk.estate == "lab"
    assert [one["name"] for one in desk.of_kind("VirtualMachine")] == ["sql", "web"]


def test_the_same_again_changes_no_row(desk: Desk, store: Store) -> None:
    version = desk.version
    fill(store, estate(), b.NOW_S + 10)
    desk.refresh()
    assert (desk.version, desk.since(version)) == (version, {})
    assert not desk.refresh(), "nothing was written since"


def test_only_what_changed_gets_a_new_version(desk: Desk, store: Store) -> None:
    version = desk.version
    conditions = tuple(
        replace(one, status=Status.FALSE, reason="Critical", message="it is old")
        if (one.target, one.type) == (SQL, ConditionType.FRESH) else one
        for one in store.conditions())
    store.save_conditions(conditions, b.NOW_S)
    desk.refresh()
    (target, row), = desk.since(version).items()
    assert target == SQL
    assert row is not None
    assert (row["level"], row["sentence"]) == ("critical", "it is old")


def test_a_vm_that_is_no_longer_declared_has_no_row(desk: Desk, store: Store) -> None:
    version = desk.version
    store.save_declared({target: one for target, one in store.declared().items() if target != SQL})
    desk.refresh()
    assert desk.since(version) == {SQL: None}


def test_a_host_that_falls_silent_is_told(desk: Desk, store: Store) -> None:
    version = desk.version
    beat = store.status()
    assert beat is not None
    beat["nodes"]["paris-1"] = {"state": "unknown", "sentence": "it is silent", "since_at": 1.0}
    store.save_status(beat)
    desk.refresh()
    (target, row), = desk.since(version).items()
    assert (target, row and row["answers"]) == ("Host/paris-1", False)


def test_another_file_in_the_place_of_a_damaged_one_is_read_from_its_beginning(
        desk: Desk, store: Store, tmp_path: Path) -> None:
    for path in tmp_path.glob("state.db*"):
        path.unlink()
    with Store.open(tmp_path / "state.db") as new:
        new.save_declared({SQL: store_document()})
        desk.refresh()
    row = desk.rows[SQL][1]
    assert row is not None
    assert row["place"] == "new.yaml:1"


def store_document() -> "object":
    from controller.store.for_readers.declared import DeclaredDocument

    return DeclaredDocument("new.yaml:1", {"spec": {}})


@pytest.mark.parametrize("kind", ConditionType)
def test_each_kind_of_condition_is_fine_one_way_and_not_the_other(kind: ConditionType) -> None:
    levels = {status: level_of(Condition("Host/a", kind, status, "Why", "it is so"))
              for status in Status}
    well = {status for status, level in levels.items() if level is Level.FINE}
    assert well
    assert levels[Status.FALSE] is not levels[Status.TRUE]


def test_the_worst_condition_speaks() -> None:
    late = Condition("Host/a", ConditionType.VERIFIED, Status.FALSE, "Late", "it was not read", "",
                     5.0)
    dark = Condition("Host/a", ConditionType.READY, Status.UNKNOWN, "Silent", "it is silent", "",
                     7.0)
    assert state_of([late, dark]) == (Level.UNKNOWN, "it is silent", 7.0)
    assert state_of([late]) == (Level.LATE, "it was not read", 5.0)
    assert state_of([]) == (Level.FINE, "", None)


@pytest.mark.parametrize(("outcomes", "level", "words"), [
    ([], "fine", "All 3 protected VMs restart at milan"),
    (["waits"], "critical", "2 of 3 protected VMs restart at milan; not vm-0"),
    (["unknown"], "unknown", "2 of 3 protected VMs restart at milan; unknown is vm-0"),
    (["shed", "waits"], "critical",
     "1 of 3 protected VMs restarts at milan; not vm-1; off stay vm-0"),
])
def test_the_verdict_on_a_site(outcomes: list[str], level: str, words: str) -> None:
    hindered = [{"machine": f"vm-{number}", "outcome": outcome, "sentence": "x"}
                for number, outcome in enumerate(outcomes)]
    prediction = {"site": "paris", "twin": "milan", "protected": 3, "hindered": hindered,
                  "returns": 3 - len(hindered)}
    assert verdict_of(prediction) == {"level": level, "verdict": words}
    assert verdict_of(prediction | {"twin": None})["level"] == "critical"
    assert verdict_of(prediction | {"protected": 0})["verdict"] == "No VM of paris is protected"
