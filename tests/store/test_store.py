"""The store's contract on a real file: values read back as written, by every process."""

import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import JournalUnavailable
from controller.model.condition import Condition, ConditionType, Status
from controller.plan.actions.action import Cause
from controller.plan.survey.context import (
    Approval,
    FailoverRequest,
    ReplicaRequest,
    RequestKind,
    Suspension,
)
from controller.store import journal
from controller.store.journal import Outcome
from controller.store.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path) as opened:
        yield opened


def begin(store: Store, target: str = "VirtualMachine/sql", at: float = 10.0,
          cause: Cause = Cause.DRIFT) -> int:
    return store.intend(f"start-domain:{target}@paris-1", "start-domain", target, "paris-1",
                        "abc", "it is off", at, cause)


def stalled(status: Status, message: str = "") -> Condition:
    return Condition("VirtualMachine/sql", ConditionType.STALLED, status, "Because", message)


def test_the_folder_and_the_file_are_for_their_owner_alone(store: Store, path: Path) -> None:
    begin(store)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {0o600}


def test_an_intent_is_open_until_it_is_concluded(store: Store) -> None:
    first, second = begin(store), begin(store, "VirtualMachine/web", cause=Cause.COMMIT)
    store.conclude(first, Outcome.DONE, "it runs", 11.0)
    (left,) = store.open_intents()
    assert (left.id, left.target, left.cause) == (second, "VirtualMachine/web", Cause.COMMIT)
    assert (left.verb, left.node, left.revision, left.reason, left.at) == (
        "start-domain", "paris-1", "abc", "it is off", 10.0)


def test_an_open_intent_outlives_the_process_that_wrote_it(path: Path) -> None:
    with Store.open(path) as store:
        intent = begin(store)
    with Store.open(path) as again:
        assert [found.id for found in again.open_intents()] == [intent]


def test_concluding_what_the_file_never_held_says_that_it_was_replaced(store: Store) -> None:
    with pytest.raises(JournalUnavailable, match="knows no intent 7: another file took its place"):
        store.conclude(7, Outcome.DONE, "", 1.0)


def test_a_late_outcome_after_a_recovery_is_kept_as_well(store: Store) -> None:
    intent = begin(store)
    store.conclude(intent, Outcome.ABANDONED, "found after a crash", 11.0)
    store.conclude(intent, Outcome.DONE, "it runs after all", 12.0)
    assert [row.outcome for row in store.events(9)] == ["", "abandoned", "done"]
    assert store.open_intents() == ()


def test_events_are_the_newest_ones_in_the_order_they_happened(store: Store) -> None:
    intent = begin(store)
    store.note("source", "Estate/lab", "the folder changed", 10.5)
    store.conclude(intent, Outcome.REFUSED, "no such domain", 11.0)
    assert [(row.kind, row.at) for row in store.events(2)] == [("source", 10.5), ("outcome", 11.0)]
    assert store.events(9)[-1].intent == intent


def test_a_follower_misses_nothing(store: Store) -> None:
    ids = [store.note("observed", "Host/paris-1", f"line {n}", float(n)) for n in range(10)]
    shown: list[int] = []
    after = ids[0]
    while rows := store.events(4, after=after):
        shown += [row.id for row in rows]
        after = rows[-1].id
    assert shown == ids[1:]


def test_events_of_one_target_are_told_from_the_others(store: Store) -> None:
    begin(store, "VirtualMachine/sql")
    begin(store, "VirtualMachine/web")
    assert {row.target for row in store.events(9, target="VirtualMachine/web")} == {
        "VirtualMachine/web"}


def test_repairs_count_healed_drift_and_nothing_else(store: Store) -> None:
    for outcome, cause, at in ((Outcome.DONE, Cause.DRIFT, 1.0), (Outcome.DONE, Cause.DRIFT, 5.0),
                               (Outcome.UNKNOWN, Cause.DRIFT, 6.0),
                               (Outcome.DONE, Cause.COMMIT, 7.0),
                               (Outcome.REFUSED, Cause.DRIFT, 8.0)):
        store.conclude(begin(store, at=at, cause=cause), outcome, "", at)
    begin(store, at=9.0)
    assert store.repairs(2.0) == {"VirtualMachine/sql": (5.0, 6.0)}


def test_a_suspension_holds_until_its_instant_or_until_it_is_resumed(store: Store) -> None:
    store.suspend(Suspension("Host/paris-1", "ann", "new RAM", 100.0))
    store.suspend(Suspension("Site/milan", "bob", "power works", 200.0))
    store.suspend(Suspension("Host/paris-1", "ann", "new RAM, longer", 150.0))
    assert [s.why for s in store.suspensions(120.0)] == ["new RAM, longer", "power works"]
    assert [s.target for s in store.suspensions(150.0)] == ["Site/milan"]
    assert store.resume("Site/milan")
    assert not store.resume("Site/milan")
    assert store.suspensions(0.0) == (Suspension("Host/paris-1", "ann", "new RAM, longer", 150.0),)


def test_an_approval_is_for_one_action_of_one_revision_until_it_expires(store: Store) -> None:
    yes = Approval("remove-domain:VirtualMachine/old@paris-1", "abc", "ann", 50.0, "c1")
    store.approve(yes)
    assert store.approvals(49.0) == (yes,)
    assert store.approvals(50.0) == ()


def test_each_person_has_a_yes_and_all_are_used_up_at_once(store: Store) -> None:
    name = "start:VirtualMachine/sql@paris-1"
    ann = Approval(name, "abc", "ann", 50.0, "c1", "I was told to")
    store.approve(ann)
    store.approve(replace(ann, by="bob"))
    store.approve(replace(ann, content="c2"))
    assert [(one.by, one.content, one.why) for one in store.approvals(2.0)] == [
        ("ann", "c2", "I was told to"), ("bob", "c1", "I was told to")]
    store.intend(name, "start", "VirtualMachine/sql", "paris-1", "abc", "why", 1.0)
    assert store.approvals(2.0) == ()


def test_an_approval_is_used_up_by_the_intent_it_allowed_and_by_no_other(store: Store) -> None:
    name = "start:VirtualMachine/sql@paris-1"
    yes = Approval(name, "abc", "ann", 50.0, "c1")
    store.approve(yes)
    target = ("VirtualMachine/sql", "paris-1")
    store.intend("stop:VirtualMachine/sql@paris-1", "stop", *target, "abc", "why", 1.0)
    store.intend(name, "start", *target, "abd", "why", 1.0)
    assert store.approvals(2.0) == (yes,)
    store.intend(name, "start", *target, "abc", "why", 1.0)
    assert store.approvals(2.0) == ()


def test_a_request_for_a_replica_is_used_up_by_the_action_a_person_caused(store: Store) -> None:
    request = ReplicaRequest("sql", RequestKind.VERIFY, "ann", 1.0)
    store.request(request)
    store.request(ReplicaRequest("web", RequestKind.COPY, "ann", 1.0))
    action = ("verify-replica:Replica/sql@milan-1", "verify-replica", "Replica/sql", "milan-1")
    store.intend(*action, "abc", "it was due", 2.0, Cause.DRIFT)
    assert request in store.requests()
    store.intend(*action, "abc", "ann asked for it", 3.0, Cause.HUMAN)
    assert [one.machine for one in store.requests()] == ["web"]


def test_an_action_uses_up_what_it_serves_alone(store: Store) -> None:
    for request in RequestKind:
        store.request(ReplicaRequest("sql", request, "ann", 1.0))
    store.intend("replicate:Replica/sql@paris-1/milan-1", "replicate", "Replica/sql", "paris-1",
                 "abc", "ann asked for it", 3.0, Cause.HUMAN)
    assert [one.kind for one in store.requests()] == [RequestKind.VERIFY]


def test_a_request_is_withdrawn_and_an_expired_one_goes_by_its_instant(store: Store) -> None:
    old, new = (ReplicaRequest("sql", RequestKind.COPY, "ann", at) for at in (1.0, 3700.0))
    web = ReplicaRequest("web", RequestKind.SEED, "ann", 3700.0)
    for request in (old, web):
        store.request(request)
    assert store.requests() == (old, web)
    store.request(new)
    store.withdraw_expired([old])
    assert store.requests() == (new, web)
    store.withdraw_expired([])
    store.withdraw(web)
    assert store.requests() == (new,)


def test_what_is_left_of_an_order_is_saved_with_its_withdrawal(store: Store) -> None:
    whole = FailoverRequest("Site/paris", "ann", "why", 10.0, planned=True, back=True)
    newer = FailoverRequest("VirtualMachine/web", "bob", "later", 20.0, planned=True)
    store.order_failover(whole)
    store.order_failover(newer)
    left = [FailoverRequest(f"VirtualMachine/{name}", "ann", "why", 10.0, planned=True, back=True)
            for name in ("sql", "web")]
    store.withdraw_failovers([whole], left)
    assert store.failovers(30.0) == (left[0], newer)


@pytest.mark.parametrize(("outcome", "tries"), [
    (Outcome.REFUSED, 1), (Outcome.UNAVAILABLE, 1), (Outcome.UNKNOWN, 1), (Outcome.ABANDONED, 0),
    (Outcome.DONE, 0)])
def test_failed_moves_are_counted_until_one_succeeds_or_is_ordered(
        store: Store, outcome: Outcome, tries: int) -> None:
    def moved(outcome: Outcome, at: float) -> None:
        intent = store.intend("move:VirtualMachine/sql@a/b/1", "move", "VirtualMachine/sql", "a",
                              "r1", "why", at)
        store.conclude(intent, outcome, f"it was {outcome}", at)

    moved(outcome, 10.0)
    found = store.failed_moves(0.0)
    assert (found["sql"].tries if found else 0) == tries
    moved(Outcome.REFUSED, 11.0)
    assert store.failed_moves(0.0)["sql"].tries == tries + 1
    assert store.failed_moves(12.0) == {}
    store.order_failover(FailoverRequest("Site/paris", "ann", "", 12.0))
    assert store.failed_moves(0.0) != {}
    store.order_failover(FailoverRequest("Site/paris", "ann", "", 12.0, planned=True))
    assert store.failed_moves(0.0) == {}
    moved(Outcome.REFUSED, 13.0)
    moved(Outcome.DONE, 14.0)
    assert store.failed_moves(0.0) == {}


def test_a_condition_remembers_since_when_its_status_holds(store: Store, path: Path) -> None:
    assert store.save_conditions((stalled(Status.TRUE, "a"),), 1.0)[0].since_at == 1.0
    assert store.save_conditions((stalled(Status.TRUE, "b"),), 2.0) == ()
    with Store.open(path) as other:
        (kept,) = other.conditions()
        assert (kept.message, kept.since_at) == ("b", 1.0)
        (turned,) = other.save_conditions((stalled(Status.FALSE),), 3.0)
        assert turned.since_at == 3.0


def test_conditions_that_are_no_longer_stated_are_gone(store: Store) -> None:
    store.save_conditions((stalled(Status.TRUE),), 1.0)
    store.save_conditions((), 2.0)
    assert store.conditions() == ()
    assert store.save_conditions((stalled(Status.TRUE),), 3.0)[0].since_at == 3.0


def test_another_level_of_lateness_is_news_and_began_when_the_first_did(store: Store) -> None:
    late, critical = (Condition("VirtualMachine/sql", ConditionType.FRESH, Status.FALSE, level, "")
                      for level in ("Late", "Critical"))
    assert store.save_conditions((late,), 1.0)
    assert store.save_conditions((late,), 2.0) == ()
    (news,) = store.save_conditions((critical,), 3.0)
    assert (news.reason, news.since_at) == ("Critical", 1.0)


def test_the_applied_revision_comes_back_with_its_fingerprints(store: Store) -> None:
    assert store.applied() is None
    store.save_applied("abc", {"Host/b": "2", "Host/a": "1"}, 1.0)
    store.save_applied("def", {"Host/a": "3"}, 2.0)
    applied = store.applied()
    assert applied is not None
    assert applied == ("def", {"Host/a": "3"}, 2.0)


def test_the_last_words_of_every_node_survive_a_restart(store: Store, path: Path) -> None:
    store.save_seen("paris-1", '{"domains": ["sql"]}', 1.0)
    store.save_seen("paris-1", '{"domains": ["sql"]}', 2.0)
    store.save_seen("milan-1", "{}", 3.0)
    with Store.open(path) as other:
        assert other.seen()["paris-1"] == ('{"domains": ["sql"]}', 2.0)
        other.forget_seen("milan-1")
    assert set(store.seen()) == {"paris-1"}
    store.save_seen("milan-1", "{}", 4.0)
    assert store.seen()["milan-1"].at == 4.0


def test_the_heartbeat_is_whatever_the_loop_said_last(store: Store, path: Path) -> None:
    assert store.status() is None
    store.save_status({"pid": 1, "nodes": {"paris-1": 0.5}})
    store.save_status({"pid": 2})
    with Store.open(path) as other:
        assert other.status() == {"pid": 2}


def test_a_write_by_another_process_is_noticed_once(store: Store, path: Path) -> None:
    assert not store.changed()
    begin(store)
    assert not store.changed(), "our own writes are no news"
    with Store.open(path) as other:
        other.suspend(Suspension("Host/paris-1", "ann", "new RAM", 100.0))
    assert store.changed()
    assert not store.changed()


def test_the_store_in_memory_keeps_the_same_contract() -> None:
    with Store.open(":memory:") as store, Store.open(":memory:") as other:
        store.conclude(begin(store), Outcome.DONE, "", 2.0)
        assert len(store.events(9)) == 2
        assert other.events(9) == ()
        assert not store.changed()


def test_the_journal_stays_within_its_bounds_but_keeps_open_intents(
        store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "KEEP_ROWS", 50)
    monkeypatch.setattr(journal, "PRUNE_EVERY", 100)
    intent = begin(store)
    for at in range(299):
        store.note("observed", "Host/paris-1", "hello", float(at))
    rows = store.events(10_000)
    assert len(rows) == 51
    assert rows[0].id == intent
    assert [found.id for found in store.open_intents()] == [intent]


def test_what_is_routine_drives_nothing_else_out(
        store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "KEEP_ROUTINE_ROWS", 40)
    monkeypatch.setattr(journal, "PRUNE_EVERY", 10)
    store.note("refused", "VirtualMachine/sql", "the storm gate holds it back", 0.0)
    store.conclude(begin(store), Outcome.DONE, "started sql", 1.0)
    for number in range(200):
        intent = store.intend("copy", "replicate", "Replica/sql", "paris-1", "abc", "due",
                              2.0 + number, Cause.ROUTINE)
        failed = number == 3
        store.conclude(intent, Outcome.UNAVAILABLE if failed else Outcome.DONE,
                       "the way is cut" if failed else "made a point", 2.5 + number)
    rows = store.events(10_000)
    assert [row.sentence for row in rows[:4]] == [
        "the storm gate holds it back", "it is off", "started sql", "the way is cut"]
    assert 40 <= len([row for row in rows if row.cause == "routine"]) <= 52


def test_lines_older_than_the_bound_go(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "PRUNE_EVERY", 10)
    for _ in range(9):
        store.note("observed", "Host/paris-1", "old", 1.0)
    store.note("observed", "Host/paris-1", "new", 1.0 + journal.KEEP_S + 1)
    assert [row.sentence for row in store.events(99)] == ["new"]


def test_two_loops_never_share_a_state_folder(path: Path) -> None:
    with Store.open(path, exclusive=True):
        with pytest.raises(JournalUnavailable, match=r"another hotsite \(pid \d+\) uses"):
            Store.open(path, exclusive=True)
        with Store.open(path) as beside:
            begin(beside)
    with Store.open(path, exclusive=True) as after:
        assert len(after.open_intents()) == 1


@pytest.mark.parametrize(("write", "durable"), [
    (begin, True),
    (lambda store: store.conclude(1, Outcome.DONE, "", 2.0), True),
    (lambda store: store.suspend(Suspension("Host/paris-1", "ann", "new RAM", 9.0)), True),
    (lambda store: store.save_seen("paris-1", '{"domains": ["sql"]}', 2.0), True),
    (lambda store: store.save_seen("paris-1", "{}", 2.0), False),
    (lambda store: store.save_status({"pid": 1}), False),
], ids=["intend", "conclude", "suspend", "new facts", "the same facts", "heartbeat"])
def test_what_a_decision_hangs_on_is_on_the_disk_when_the_call_returns(
        store: Store, write: Callable[[Store], object], durable: bool) -> None:
    begin(store)
    store.save_seen("paris-1", "{}", 1.0)
    write(store)
    (level,), = store._database.read("PRAGMA synchronous")
    assert level == (2 if durable else 1), "2 is FULL: the log is synced at each commit"
