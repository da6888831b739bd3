"""What was renamed while a failover is open: its record, its grants and its orders are followed."""

from dataclasses import replace
from typing import Any

import pytest

from controller.failover.situation import Grant
from controller.model.facts import Known
from controller.model.failover.guard import Revocation
from controller.model.failover.record import Record, RecordedHost, RecordedMachine
from controller.plan.failover.addresses import wanted_of
from controller.plan.guarding.grants import grants_of, is_guarded, view_of
from controller.plan.survey.survey import Survey, take_survey
from tests.plan import builders as b
from tests.plan.guarded import guarded, seen, with_grantor
from tests.plan.renaming import called

OLD = guarded(b.vm("sql", protection="cut", placement={"site": "paris"}))
LOST = b.silenced(seen(OLD, {"sql": "paris-1"}), "paris-1")
RECORD = Record(scope="Site/paris", epoch=4, term=2, phase="promoting", step=3,
                hosts={"paris-1": RecordedHost("boot-7")},
                machines={"sql": RecordedMachine("u", 5, "milan-1")},
                ordered=("VirtualMachine/sql",), accepted=("Site/paris",),
                points={"VirtualMachine/sql": "5"})


def holding(observed: Any, node: str, *records: Record) -> Any:
    """What is seen, where one node holds these records."""
    facts = observed.nodes[node].value
    held = Known({one.scope: one for one in records}, b.NOW_S)
    return b.with_node(observed, node, Known(replace(facts, records=held), b.NOW_S))


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize(("field", "kind", "former", "now"), [
    ("hosts", "Host", "paris-1", "par-1"), ("hosts", "Host", "milan-1", "mil-1"),
    ("sites", "Site", "paris", "lutetia"), ("virtual_machines", "VirtualMachine", "sql", "erp")])
def test_a_record_is_of_what_was_renamed(field: str, kind: str, former: str, now: str,
                                         silent: bool) -> None:
    desired = called(OLD, field, former, now)
    observed = holding(LOST, "milan-2", RECORD)
    observed = b.silenced(observed, "milan-2") if silent else observed
    found, = take_survey(desired, observed, b.APPLIED, b.NOW_S).records.values()

    def name(of: str, was: str) -> str:
        return now if (of, was) == (kind, former) else was

    site, vm = name("Site", "paris"), name("VirtualMachine", "sql")
    assert found == replace(
        RECORD, scope=f"Site/{site}", hosts={name("Host", "paris-1"): RecordedHost("boot-7")},
        machines={vm: RecordedMachine("u", 5, name("Host", "milan-1"))},
        ordered=(f"VirtualMachine/{vm}",), accepted=(f"Site/{site}",),
        points={f"VirtualMachine/{vm}": "5"})


@pytest.mark.parametrize("newer_first", [False, True])
def test_of_two_records_of_one_scope_under_two_names_the_newer_counts(newer_first: bool) -> None:
    desired = called(OLD, "sites", "paris", "lutetia")
    newer = replace(RECORD, scope="Site/lutetia", phase="led-elsewhere", step=9)
    both = (newer, RECORD) if newer_first else (RECORD, newer)
    survey = take_survey(desired, holding(LOST, "milan-2", *both), b.APPLIED, b.NOW_S)
    assert [(one.scope, one.phase) for one in survey.records.values()] == [
        ("Site/lutetia", "led-elsewhere")]


def test_facts_without_a_record_of_what_was_renamed_stay_the_same_objects() -> None:
    desired = called(OLD, "virtual_machines", "sql", "erp")
    survey = take_survey(desired, holding(LOST, "hq", replace(
        RECORD, ordered=(), points={}, machines={})), b.APPLIED, b.NOW_S)
    assert survey.observed.nodes["milan-1"] is LOST.nodes["milan-1"]


def granting(desired: Any, refused: dict[str, int], **said: Any) -> tuple[Grant, ...]:
    """What hq says of par-1, which was paris-1, and refuses under these names."""
    revoked = {name: Revocation(epoch, 1, "ann", "lost", 30.0, since_start=False)
               for name, epoch in refused.items()}
    found = with_grantor(LOST, "hq", **{"hears": (), "revoked": revoked, **said})
    survey = take_survey(desired, found, b.APPLIED, b.NOW_S)
    return tuple(one for one in grants_of("par-1", survey) if one.grantor == "hq")


RENAMED = called(OLD, "hosts", "paris-1", "par-1")


def test_a_host_is_refused_once_it_is_under_each_name_that_its_guard_may_ask_by() -> None:
    both = {"par-1": 4, "paris-1": 4}
    assert granting(RENAMED, both) == (
        Grant(grantor="hq", age_s=30.0, revoked=4, revoked_once=4),)
    assert granting(RENAMED, {"par-1": 4}, hears=("paris-1",)) == (
        Grant(grantor="hq", age_s=0.0, revoked=0, revoked_once=4),)
    assert granting(RENAMED, {"par-1": 4}, silent={"paris-1": 12.0}) == (
        Grant(grantor="hq", age_s=12.0, revoked=0, revoked_once=4),)
    assert granting(RENAMED, {"paris-1": 4}, never=("par-1",), listening_s=500.0) == (
        Grant(grantor="hq", age_s=30.0, revoked=0, revoked_once=4),)


def test_a_name_that_a_grantor_does_not_answer_to_any_more_needs_no_refusal() -> None:
    assert granting(RENAMED, {"par-1": 4}) == (
        Grant(grantor="hq", age_s=30.0, revoked=4, revoked_once=4),)


def test_a_host_is_as_guarded_as_it_was_before_it_was_renamed() -> None:
    survey = take_survey(RENAMED, LOST, b.APPLIED, b.NOW_S)
    assert is_guarded("par-1", survey)
    disarmed = with_grantor(LOST, "hq", disarmed=("paris-1",))
    assert not is_guarded("par-1", take_survey(RENAMED, disarmed, b.APPLIED, b.NOW_S))


def test_a_renamed_grantor_is_asked_under_its_new_name_alone() -> None:
    desired = called(OLD, "witnesses", "hq", "head")
    survey = take_survey(desired, LOST, b.APPLIED, b.NOW_S)
    assert [one.grantor for one in grants_of("paris-1", survey)] == ["head", "milan-1", "milan-2"]
    assert "paris-1" not in view_of("head", survey).deaf_to


def test_a_witness_hears_a_renamed_host_under_the_name_that_it_asks_by() -> None:
    heard = with_grantor(LOST, "hq", hears=("paris-1",))
    assert view_of("hq", take_survey(RENAMED, heard, b.APPLIED, b.NOW_S)).heard_s == {"par-1": 0.0}


def dropped(survey: Survey) -> set[int]:
    """The epochs of what the switches should drop."""
    return {one.epoch for entries in wanted_of(survey).values() for one in entries}


def test_an_old_record_does_not_drop_what_a_later_failover_has_moved() -> None:
    later = Record(scope="Host/milan-1", epoch=6, phase="led-elsewhere",
                   machines={"sql": RecordedMachine("u", 6, "paris-2")})
    survey = take_survey(OLD, holding(LOST, "milan-2", RECORD), b.APPLIED, b.NOW_S)
    assert dropped(survey) == {4}
    both = take_survey(OLD, holding(LOST, "milan-2", RECORD, later), b.APPLIED, b.NOW_S)
    assert dropped(both) == {6}
