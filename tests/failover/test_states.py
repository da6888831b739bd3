"""Every row of the table is taken by a situation, and none gives an order that it does not name."""

from dataclasses import replace
from pathlib import Path

import pytest

from controller.failover.case import Case, open_cases
from controller.failover.decide import ROWS, decide_case
from controller.failover.orders import Restore
from controller.failover.signals import SIGNALS
from controller.failover.situation import (
    Bmc,
    Gate,
    Lease,
    Progress,
    Request,
    Situation,
)
from controller.failover.states import RECORDED, TABLE, Phase, Signal, Transition
from controller.model.failover.record import Proof, Record, RecordedHost, RecordedMachine
from tests.failover.builders import (
    PARIS,
    grants,
    host,
    lost,
    machine,
    recorded,
    witness,
)
from tests.failover.diagram import diagram

P, S = Phase, Signal
ORDERED = (Request(target="Site/paris", by="ada"),)
PLANNED = (Request(target="Site/paris", by="ada", planned=True),)
GATED = (machine("sql", gates=(Gate(sentence="milan-1 is full"),)),)
NOT_US = Lease(term=3, fresh=False, holder="other")
YOUNG = {name: host(name, 60.0, grants=grants(age_s=20.0)) for name in PARIS}
BACK = {name: host(name, 1.0) for name in PARIS}
BARE = {name: host(name, 60.0, bmc=Bmc(on=True, age_s=1.0), guarded=False, grants=())
        for name in PARIS}
WAITS = {"progress": Progress.WAITING, "runs_on": ()}
AGAIN = (machine("sql", runs_on=("milan-1",)), machine("new"))
MINE = {"sql": RecordedMachine("uuid-sql", 7, "milan-1")}
SILENT_GRANTOR = {"paris-1": host("paris-1", 60.0, grants=grants(age_s=None, revoked=0))}


def at(phase: Phase, promoted: dict[str, RecordedMachine] | None = None,
       **more: object) -> Situation:
    """The lost estate with a failover of paris in a phase."""
    proof = Proof("guard", "they are gone", 0.0) if phase not in {
        P.REVOKING, P.FENCING, P.RETURNING} else None
    record = Record(scope="Site/paris", epoch=1, term=3, phase=phase, by="controller",
                    hosts={name: RecordedHost(f"boot-{name}", proof) for name in PARIS},
                    machines=promoted or {}, step=4)
    return recorded(lost(**{"machines": (machine("sql"),), **more}), record)


def led(phase: Phase, **more: object) -> Situation:
    """A failover of paris that has promoted sql, in a phase."""
    one = {"progress": Progress.HEALTHY, "runs_on": ("milan-1",), "at": "milan-1",
           **more.pop("sql", {})}
    return at(phase, MINE, **{"machines": (machine("sql", **one),), **more})


def without_paris(found: Situation) -> Situation:
    """The same, once the hosts of paris have left the specs."""
    return replace(found, hosts={name: one for name, one in found.hosts.items()
                                 if name not in PARIS})


def watching(phase: Phase, **more: object) -> Situation:
    """A phase while another controller conducts."""
    make = led if phase not in {P.REVOKING, P.FENCING, P.GATING} else at
    return make(phase, lease=NOT_US, **more)


WAYS: dict[tuple[Phase, Signal, Phase], Situation] = {
    (P.CALM, S.PLANNED, P.MOVING_BACK): lost("x", requests=PLANNED),
    (P.CALM, S.SILENT, P.SUSPECTED): lost(),
    (P.CALM, S.PLANNED_WAITS, P.CALM): lost("x", requests=PLANNED, machines=(
        machine("sql", move_failed="it would take too long"),)),
    (P.SUSPECTED, S.ORDERED, P.AGREED): lost(requests=ORDERED, views=()),
    (P.SUSPECTED, S.OWN_LINK, P.SUSPECTED): lost(*PARIS, "milan-1", "milan-2"),
    (P.SUSPECTED, S.WITNESS_SEES, P.LINK_SUSPECTED): lost(views=(witness(),)),
    (P.SUSPECTED, S.VIEWS_AGREE, P.AGREED): lost(),
    (P.SUSPECTED, S.VIEW_MISSING, P.SUSPECTED): lost(views=()),
    (P.LINK_SUSPECTED, S.WITNESS_SEES, P.LINK_SUSPECTED): lost(views=(witness(),)),
    (P.AGREED, S.ONLY_WATCHES, P.AGREED): lost(lease=NOT_US),
    (P.AGREED, S.NOTHING_RAN, P.AGREED): lost(machines=(machine("x", "milan-1"),)),
    (P.AGREED, S.NEEDS_PERSON, P.AWAITING_HUMAN): lost(machines=(
        machine("sql", failover="manual"),)),
    (P.AGREED, S.MAY_BEGIN, P.REVOKING): lost(),
    (P.AWAITING_HUMAN, S.NEEDS_PERSON, P.AWAITING_HUMAN): lost(machines=(
        machine("sql", failover="manual"),)),
    (P.REVOKING, S.ONLY_WATCHES, P.REVOKING): watching(P.REVOKING),
    (P.REVOKING, S.UNDECLARED, P.CALM): without_paris(at(P.REVOKING)),
    (P.REVOKING, S.SEEN_IN_TIME, P.CALM): at(P.REVOKING, hosts=BACK),
    (P.REVOKING, S.SEEN_LATE, P.RETURNING): at(P.REVOKING, hosts={
        "paris-1": host("paris-1", 1.0, grants=grants(age_s=40.0))}),
    (P.REVOKING, S.REVOKED, P.FENCING): at(P.REVOKING),
    (P.REVOKING, S.GRANTOR_OPEN, P.REVOKING): at(P.REVOKING, hosts=SILENT_GRANTOR),
    (P.FENCING, S.ONLY_WATCHES, P.FENCING): watching(P.FENCING),
    (P.FENCING, S.UNDECLARED, P.CALM): without_paris(at(P.FENCING)),
    (P.FENCING, S.SEEN_IN_TIME, P.CALM): at(P.FENCING, hosts=BACK),
    (P.FENCING, S.SEEN_LATE, P.RETURNING): at(P.FENCING, hosts={
        "paris-1": host("paris-1", 1.0, grants=grants(age_s=40.0))}),
    (P.FENCING, S.PROVEN, P.GATING): at(P.FENCING, machines=GATED),
    (P.FENCING, S.UNPROVEN, P.FENCING): at(P.FENCING, hosts=BARE),
    (P.GATING, S.ONLY_WATCHES, P.GATING): watching(P.GATING),
    (P.GATING, S.UNDECLARED, P.CALM): without_paris(at(P.GATING)),
    (P.GATING, S.SEEN_LATE, P.RETURNING): at(P.GATING, hosts=BACK),
    (P.GATING, S.UNPROVEN, P.FENCING): at(P.GATING, hosts={
        "paris-1": host("paris-1", 60.0, grants=grants(revoked=0))}),
    (P.GATING, S.SOME_READY, P.PROMOTING): at(P.GATING),
    (P.GATING, S.ALL_WAIT, P.AWAITING_HUMAN): at(P.GATING, machines=GATED),
    (P.AWAITING_HUMAN, S.ALL_WAIT, P.AWAITING_HUMAN): at(P.GATING, machines=GATED),
    (P.PROMOTING, S.ONLY_WATCHES, P.PROMOTING): watching(P.PROMOTING),
    (P.PROMOTING, S.OLD_COPY_RUNS, P.SPLIT_BRAIN): led(
        P.PROMOTING, sql={"runs_on": ("milan-1", "paris-1")}),
    (P.PROMOTING, S.WAVES_DONE, P.LED_ELSEWHERE): led(P.PROMOTING),
    (P.PROMOTING, S.WAVE_RUNS, P.PROMOTING): led(P.PROMOTING, sql={
        "progress": Progress.STARTING}),
    (P.SPLIT_BRAIN, S.ONLY_WATCHES, P.SPLIT_BRAIN): watching(P.SPLIT_BRAIN),
    (P.SPLIT_BRAIN, S.OLD_COPY_RUNS, P.SPLIT_BRAIN): led(
        P.SPLIT_BRAIN, sql={"runs_on": ("milan-1", "paris-1")}),
    (P.SPLIT_BRAIN, S.OLD_COPY_GONE, P.PROMOTING): led(P.SPLIT_BRAIN),
    (P.LED_ELSEWHERE, S.ONLY_WATCHES, P.LED_ELSEWHERE): watching(P.LED_ELSEWHERE),
    (P.LED_ELSEWHERE, S.WAVE_RUNS, P.PROMOTING): led(P.LED_ELSEWHERE, sql=WAITS),
    (P.LED_ELSEWHERE, S.OVERTAKEN, P.CALM): led(P.LED_ELSEWHERE, sql={"epoch": 9}),
    (P.LED_ELSEWHERE, S.SOME_READY, P.PROMOTING): led(P.LED_ELSEWHERE, machines=(
        machine("sql", progress=Progress.HEALTHY, runs_on=("milan-1",)), machine("web"))),
    (P.LED_ELSEWHERE, S.OLD_HOST_ANSWERS, P.RETURNING): led(P.LED_ELSEWHERE, hosts=BACK),
    (P.LED_ELSEWHERE, S.UNDECLARED, P.CALM): without_paris(led(P.LED_ELSEWHERE)),
    (P.LED_ELSEWHERE, S.AWAY, P.LED_ELSEWHERE): led(P.LED_ELSEWHERE),
    (P.RETURNING, S.ONLY_WATCHES, P.RETURNING): watching(P.RETURNING),
    (P.RETURNING, S.WAVE_RUNS, P.PROMOTING): led(P.RETURNING, sql=WAITS),
    (P.RETURNING, S.OVERTAKEN, P.CALM): led(P.RETURNING, sql={"epoch": 9}),
    (P.RETURNING, S.LOST_AGAIN, P.CALM): led(P.RETURNING, requests=ORDERED, machines=AGAIN),
    (P.RETURNING, S.UNDECLARED, P.CALM): without_paris(led(P.RETURNING)),
    (P.RETURNING, S.SETTLED, P.CALM): at(P.RETURNING, hosts=BACK, machines=(
        machine("sql", runs_on=("paris-1",)),)),
    (P.RETURNING, S.NOT_PROMOTED, P.RETURNING): at(P.RETURNING, hosts=BACK),
    (P.RETURNING, S.OLD_COPIES_OFF, P.REVERSING): led(P.RETURNING, hosts=BACK, sql={
        "diverged_known": True}),
    (P.RETURNING, S.OLD_COPIES, P.RETURNING): led(P.RETURNING, hosts=BACK),
    (P.REVERSING, S.ONLY_WATCHES, P.REVERSING): watching(P.REVERSING),
    (P.REVERSING, S.WAVE_RUNS, P.PROMOTING): led(P.REVERSING, sql=WAITS),
    (P.REVERSING, S.OVERTAKEN, P.CALM): led(P.REVERSING, sql={"epoch": 9}),
    (P.REVERSING, S.LOST_AGAIN, P.CALM): led(P.REVERSING, requests=ORDERED, machines=AGAIN),
    (P.REVERSING, S.UNDECLARED, P.CALM): without_paris(led(P.REVERSING)),
    (P.REVERSING, S.REVERSE_FRESH, P.PROTECTED_REVERSED): led(P.REVERSING, sql={
        "reverse_fresh": True}),
    (P.REVERSING, S.REVERSE_STALE, P.REVERSING): led(P.REVERSING),
    (P.PROTECTED_REVERSED, S.ONLY_WATCHES, P.PROTECTED_REVERSED): watching(P.PROTECTED_REVERSED),
    (P.PROTECTED_REVERSED, S.OVERTAKEN, P.CALM): led(P.PROTECTED_REVERSED, sql={"epoch": 9}),
    (P.PROTECTED_REVERSED, S.LOST_AGAIN, P.CALM): led(
        P.PROTECTED_REVERSED, requests=ORDERED, machines=AGAIN),
    (P.PROTECTED_REVERSED, S.UNDECLARED, P.CALM): without_paris(led(P.PROTECTED_REVERSED)),
    (P.PROTECTED_REVERSED, S.PLANNED, P.MOVING_BACK): led(
        P.PROTECTED_REVERSED, hosts=BACK, requests=PLANNED),
    (P.PROTECTED_REVERSED, S.PLANNED_WAITS, P.PROTECTED_REVERSED): led(
        P.PROTECTED_REVERSED, requests=PLANNED, sql={"target": "paris-1"}),
    (P.PROTECTED_REVERSED, S.REVERSE_STALE, P.PROTECTED_REVERSED): led(P.PROTECTED_REVERSED),
    (P.PROTECTED_REVERSED, S.REVERSE_FRESH, P.PROTECTED_REVERSED): led(
        P.PROTECTED_REVERSED, sql={"reverse_fresh": True}),
    (P.MOVING_BACK, S.ONLY_WATCHES, P.MOVING_BACK): watching(P.MOVING_BACK),
    (P.MOVING_BACK, S.CALLED_OFF, P.CALM): at(P.MOVING_BACK, machines=(
        machine("sql", move_failed="too slow"),)),
    (P.MOVING_BACK, S.MOVE_FAILED, P.PROTECTED_REVERSED): led(P.MOVING_BACK, sql={
        "move_failed": "too slow"}),
    (P.MOVING_BACK, S.MOVED, P.CALM): led(P.MOVING_BACK, sql={"epoch": 2}),
    (P.MOVING_BACK, S.ON_THE_WAY, P.MOVING_BACK): led(P.MOVING_BACK),
}
"""By row: a situation in which it is taken."""


def case_of(situation: Situation) -> Case:
    """The case of paris."""
    return next(one for one in open_cases(situation) if one.scope == "Site/paris")


def rows_taken(case: Case) -> list[Transition]:
    """The rows that are taken from the recorded phase on, one after the other."""
    phase, rows = case.phase, []
    while True:
        row = next(one for one in ROWS[phase] if SIGNALS[one.signal](case) is not None)
        rows.append(row)
        phase = row.end
        if row.start is row.end or (phase in RECORDED and phase is not case.phase):
            return rows


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.start}, {row.signal}")
def test_a_row_is_taken_by_its_situation(row: Transition) -> None:
    case = case_of(WAYS[row.start, row.signal, row.end])
    taken = rows_taken(case)
    assert row in taken
    decision = decide_case(case)
    assert decision.phase is taken[-1].end
    assert decision.sentence
    assert {type(order).__name__ for order in decision.orders} <= set(taken[-1].orders)
    if row.signal is S.ONLY_WATCHES:
        assert decision.orders == ()


def test_every_row_has_a_situation() -> None:
    assert WAYS.keys() == {(row.start, row.signal, row.end) for row in TABLE}
    assert len(WAYS) == len(TABLE)


def test_every_signal_is_asked_for_and_every_phase_is_reached() -> None:
    assert {row.signal for row in TABLE} == set(Signal) == SIGNALS.keys()
    assert {row.end for row in TABLE} == set(Phase)


@pytest.mark.parametrize("phase", sorted(RECORDED - {Phase.CALM}))
def test_what_a_row_orders_is_given_again_until_it_is_seen(phase: Phase) -> None:
    """A crash after any order leaves the same order to be given by the next controller."""
    for (start, _, end), situation in WAYS.items():
        if end is phase and start is phase:
            later = replace(situation, now_at=situation.now_at + 100)
            assert decide_case(case_of(later)).orders == decide_case(case_of(situation)).orders


def test_nothing_is_restored_before_the_record_says_that_it_is_returning() -> None:
    for (_, _, end), situation in WAYS.items():
        decision = decide_case(case_of(situation))
        if end is Phase.RETURNING and case_of(situation).phase is not Phase.RETURNING:
            assert not [one for one in decision.orders if isinstance(one, Restore)]


def test_the_diagram_beside_the_table_is_the_table() -> None:
    text = (Path(__file__).parents[2] / "controller/failover/states.md").read_text()
    assert f"```mermaid\n{diagram()}\n```" in text, "write what tests.failover.diagram says"
