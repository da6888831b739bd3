"""Gates of a failover: what stands against each VM of a silent host, and its point."""

from dataclasses import replace
from typing import Any

import pytest

from controller.failover.situation import MachineSituation
from controller.model.facts import Known, Observed
from controller.model.failover.record import Record, RecordedMachine
from controller.plan.actions.action import Cause
from controller.plan.actions.failover import WriteRecord
from controller.plan.actions.fencing import FenceHost
from controller.plan.actions.promotion import PromoteReplica
from controller.plan.compute import locate_all
from controller.plan.failover.gates import promotions_of
from controller.plan.failover.situation import situation_of
from controller.plan.gates.observing import observer_of
from controller.plan.machine.layout import lay_out
from controller.plan.replication.protected_machine import find_protected
from controller.plan.steps.draft import Draft
from controller.plan.survey.context import Context, FailoverRequest
from controller.plan.survey.replicas import index_replicas
from controller.plan.survey.survey import take_survey
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.conditions.test_survivable import seen, with_hardware
from tests.plan.gates.test_observing import watched


def lab(*more: Any, policy: dict[str, Any] | None = None, **sql: Any) -> Any:
    return b.small(b.vm("sql", protection="gold", **({"placement": {"site": "paris"}} | sql)),
                   *more, b.document("ProtectionPolicy", "gold", **({"rpo": "5m"} |
                                                                     (policy or {}))))


def lost(desired: Any, age_s: float = 250.0) -> Observed:
    """What is seen once paris-1, with the VM, has been silent for 190 s."""
    observed = seen(desired, {"sql": "paris-1"}, {})
    observed = r.with_replica(observed, "milan-1", r.replica("sql", r.series(12, age_s)))
    return b.silenced(observed, "paris-1")


def situation(desired: Any, observed: Observed, context: Context = b.APPLIED) -> MachineSituation:
    survey = take_survey(desired, observed, context, b.NOW_S)
    draft = Draft()
    locations = locate_all(survey, draft)
    layout, index = lay_out(locations, survey, draft), index_replicas(survey)
    protected = find_protected(locations, index, survey, draft)
    return situation_of(protected, promotions_of(protected, index, layout, survey),
                        survey).machines["sql"]


def ordering(point: str, target: str = "Site/paris") -> Context:
    return replace(b.APPLIED, failovers=(FailoverRequest(target, "ann", "", b.NOW_S, point=point),))


def test_a_vm_with_nothing_in_its_way_has_no_gate_and_takes_its_newest_point() -> None:
    desired = lab()
    found = situation(desired, lost(desired))
    assert (found.target, found.point, found.gates) == ("milan-1", 12, ())


@pytest.mark.parametrize(("target", "failover"), [
    ("Estate/lab", "confirm"), ("VirtualMachine/sql", "confirm"), ("Host/paris-1", "confirm"),
    ("Host/milan-1", "confirm"), ("Host/paris-2", "automatic"),
    ("VirtualMachine/web", "automatic")])
def test_what_is_only_observed_waits_for_a_person_and_can_start(
        target: str, failover: str) -> None:
    desired = watched(lab(b.vm("web"), policy={"failover": "automatic"}), target)
    found = situation(desired, lost(desired))
    assert (found.failover, found.target, found.point, found.gates) == (
        failover, "milan-1", 12, ())


def test_age_counts_up_to_the_silence_since_nothing_was_written_after_that() -> None:
    desired = lab(policy={"maxAge": "2m"})
    assert situation(desired, lost(desired, age_s=300)).gates == ()
    (gate,) = situation(desired, lost(desired, age_s=320)).gates
    assert gate.yields
    assert "sql waits for a person: it would go back to" in gate.sentence
    assert "--accept-loss" in gate.sentence


def test_what_only_the_world_can_change_does_not_yield() -> None:
    desired = lab()
    small = with_hardware(lost(desired), "milan-1", memory_bytes=b.GIB,
                          memory_available_bytes=b.GIB)
    (gate,) = situation(desired, small).gates
    assert not gate.yields
    assert gate.sentence == \
        "sql cannot start: milan-1 has 512MiB of memory left and it needs 2GiB"


def test_a_vm_that_is_shed_says_so() -> None:
    desired = lab(policy={"shedding": 3})
    small = with_hardware(lost(desired), "milan-1", memory_bytes=b.GIB,
                          memory_available_bytes=b.GIB)
    (gate,) = situation(desired, small).gates
    assert gate.sentence.startswith("sql stays off, being of class 3: milan-1 has 512MiB")


def test_a_vm_that_is_declared_off_is_not_started() -> None:
    desired = lab(power="off")
    observed = r.asked(b.as_declared(desired, {"sql": "paris-1"}), desired)
    observed = r.with_replica(observed, "milan-1", r.replica("sql", r.series(12, 250)))
    (gate,) = situation(desired, b.silenced(observed, "paris-1")).gates
    assert gate.sentence == "sql is declared off, and is not started"


def test_an_older_point_may_be_ordered_and_the_nearest_order_counts() -> None:
    desired = lab()
    observed = lost(desired)
    assert situation(desired, observed, ordering("1970-01-12T13:40:00Z")).point == 11
    both = replace(b.APPLIED, failovers=(*ordering("11").failovers,
                                         *ordering("10", "VirtualMachine/sql").failovers))
    assert situation(desired, observed, both).point == 10
    wrong = situation(desired, observed, ordering("7"))
    assert (wrong.point, [gate.yields for gate in wrong.gates]) == (None, [False])


def test_the_record_keeps_the_point_that_was_ordered_until_it_is_over() -> None:
    desired = lab()
    observed = lost(desired)
    for phase, point in (("fencing", 10), ("calm", 12)):
        record = Record("Site/paris", 1, phase=phase, points={"Site/paris": "10"})
        fact = observed.nodes["milan-2"]
        assert isinstance(fact, Known)
        kept = b.with_node(observed, "milan-2", Known(replace(
            fact.value, records=Known({record.scope: record}, b.NOW_S)), b.NOW_S))
        assert situation(desired, kept).point == point


@pytest.mark.parametrize(("cause", "passes"), [(Cause.HUMAN, True), (Cause.DRIFT, False)])
def test_only_a_persons_order_cuts_power_and_promotes_where_everything_is_only_observed(
        cause: Cause, passes: bool) -> None:
    desired = watched(lab(), "Estate/lab")
    survey = take_survey(desired, lost(desired), b.APPLIED, b.NOW_S)
    said: dict[str, Any] = {"reason": "r", "cause": cause}
    for action in (
            FenceHost(target="Host/paris-1", node="paris-1", begin_s=1.0, **said),
            PromoteReplica(target="VirtualMachine/sql", node="milan-1", uuid="u", path="/p",
                           sequence=1, epoch=1, estate="lab", **said)):
        observer = observer_of(action, set(), survey)
        assert observer == (None if passes else "Estate/lab")
    record = WriteRecord(target="Site/paris", node="milan-1", to=("milan-1",),
                         record=Record("Site/paris", 1), **said)
    assert observer_of(record, set(), survey) is None


UNSEEN = ("paris-1", "paris-2")


def unseen(desired: Any, *names: str, age_s: float = 250.0) -> Observed:
    """What a controller sees that began when these hosts were silent already."""
    observed = lost(desired, age_s)
    for name in names:
        observed = b.never_seen(observed, name)
    return observed


def test_a_vm_that_this_controller_never_saw_comes_back_from_its_replica() -> None:
    desired = lab()
    found = situation(desired, unseen(desired, *UNSEEN))
    assert (found.home, found.target, found.point, found.gates) == ("paris-1", "milan-1", 12, ())
    assert set(found.may_run_on) == set(UNSEEN)     # and none of them must be left unproven
    on_one = lab(placement={"site": "paris", "host": "paris-2"})
    assert situation(on_one, unseen(on_one, *UNSEEN)).home == "paris-2"


def test_a_vm_that_this_controller_never_saw_is_gated_as_any_other() -> None:
    desired = lab()
    found = situation(desired, unseen(desired, *UNSEEN, age_s=90_000.0))
    assert [gate.yields for gate in found.gates] == [True]


def test_a_vm_that_is_nowhere_is_not_on_a_host_that_answers_or_of_another_site() -> None:
    elsewhere = lab(placement={"site": "milan"})
    assert situation(elsewhere, unseen(elsewhere, *UNSEEN)).home == ""
    here = lab(placement={"site": "paris", "host": "paris-2"})
    assert situation(here, unseen(here, "paris-1")).home == ""


@pytest.mark.parametrize(("phase", "home"), [
    ("promoting", "paris-1"), ("led-elsewhere", "paris-1"), ("returning", ""),
    ("protected-reversed", "")])
def test_a_vm_that_failed_over_before_is_looked_for_where_it_went(phase: str, home: str) -> None:
    desired = lab()
    observed = unseen(desired, *UNSEEN)
    record = Record(scope="Site/paris", epoch=3, phase=phase,
                    machines={"sql": RecordedMachine("u", 12, "milan-1")})
    node = observed.nodes["milan-2"]
    assert isinstance(node, Known)
    held = replace(node.value, records=Known({record.scope: record}, b.NOW_S))
    found = situation(desired, b.with_node(observed, "milan-2", Known(held, b.NOW_S)))
    assert found.home == home
