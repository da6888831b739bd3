"""The survivors' switches drop what old copies send, for as long as they may be alive."""

from dataclasses import replace

import pytest

import tests.plan.builders as b
from controller.model.facts import Known, Observed, Unknown
from controller.model.failover.dropped import DroppedAddress
from controller.model.failover.record import Record, RecordedHost, RecordedMachine
from controller.plan.actions.action import Cause
from controller.plan.actions.fencing import AdmitAddresses, DropAddresses
from controller.plan.compute import compute
from controller.plan.failover.addresses import not_dropped
from controller.plan.steps.plan import Verdict
from controller.plan.survey.survey import take_survey

LAB = b.small(b.vm("sql"), b.vm("web"))
MACS = {name: LAB.virtual_machines[name].spec.nics[0].mac.lower() for name in ("sql", "web")}


def seen(phase: str, drops: tuple[DroppedAddress, ...] | None = (), *, epoch: int = 7,
         ordered: tuple[str, ...] = ()) -> Observed:
    """The lab after sql was promoted to milan-1, paris being lost; what milan's switch drops."""
    record = Record("Site/paris", epoch, phase=phase, hosts={"paris-1": RecordedHost("")},
                    ordered=ordered, machines={"sql": RecordedMachine(
                        b.domain_uuid("lab", "sql"), 3, "milan-1")})
    found = b.as_declared(LAB, {"sql": "milan-1", "web": "milan-2"})
    for name, fields in (("milan-2", {"records": Known({record.scope: record}, b.NOW_S)}), (
            "milan-sw", {"dropped": Unknown("it hangs", 0.0) if drops is None
                         else Known(drops, b.NOW_S)})):
        fact = found.nodes[name]
        assert isinstance(fact, Known)
        found = b.with_node(found, name, replace(fact, value=replace(fact.value, **fields)))
    return found


def steps(observed: Observed) -> list[DropAddresses | AdmitAddresses]:
    """Return what is planned of it; the gates let all of it pass."""
    found = [one for one in compute(LAB, observed, b.APPLIED, b.NOW_S).steps
             if isinstance(one.action, DropAddresses | AdmitAddresses)]
    assert all(one.ruling.verdict is Verdict.ALLOWED for one in found)
    return [one.action for one in found
            if isinstance(one.action, DropAddresses | AdmitAddresses)]


def dropped(name: str = "sql", epoch: int = 7) -> tuple[DroppedAddress, ...]:
    """Return the flows of one VM on both members of the trunk."""
    return tuple(DroppedAddress("br0", port, MACS[name], epoch) for port in ("tr0", "tr1"))


def test_what_the_old_copy_sends_is_dropped_on_every_member_of_the_trunk() -> None:
    (action,) = steps(seen("promoting"))
    assert isinstance(action, DropAddresses)
    assert (action.node, action.ports, action.macs, action.epoch) == (
        "milan-sw", ("tr0", "tr1"), (MACS["sql"],), 7)
    assert action.id == "drop-addresses:Switch/milan-sw@milan-sw/7"


@pytest.mark.parametrize("phase", ["promoting", "split", "led-elsewhere", "returning"])
def test_it_stays_dropped_and_comes_back_after_the_switch_lost_it(phase: str) -> None:
    assert steps(seen(phase, dropped())) == []
    (action,) = steps(seen(phase, dropped()[1:]))
    assert isinstance(action, DropAddresses)
    assert action.ports == ("tr0",)


@pytest.mark.parametrize("phase", ["revoking", "fencing", "gating"])
def test_nothing_is_dropped_before_anything_is_promoted(phase: str) -> None:
    assert steps(seen(phase)) == []


@pytest.mark.parametrize("phase", ["reversing", "protected-reversed", "moving-back", "calm"])
def test_it_passes_again_once_the_old_hosts_are_seen_off(phase: str) -> None:
    (action,) = steps(seen(phase, dropped()))
    assert isinstance(action, AdmitAddresses)
    assert (action.node, action.bridge, action.macs) == ("milan-sw", "br0", (MACS["sql"],))


def test_nobody_lets_pass_what_no_record_speaks_of() -> None:
    assert steps(seen("calm", dropped(epoch=9))) == []
    assert steps(seen("calm", dropped(epoch=5)))
    (action,) = steps(seen("led-elsewhere", (*dropped(), *dropped("web", 6))))
    assert action.macs == (MACS["web"],)


def test_a_switch_that_cannot_be_read_is_left_alone() -> None:
    assert steps(seen("promoting", None)) == []


def test_an_order_of_a_person_is_carried_out_as_his() -> None:
    (action,) = steps(seen("promoting", ordered=("Site/paris",)))
    assert action.cause is Cause.HUMAN


def test_it_is_known_whether_all_that_should_be_is_dropped() -> None:
    for drops, whole in (((), False), (dropped()[1:], False), (dropped(), True), (None, True)):
        survey = take_survey(LAB, seen("promoting", drops), b.APPLIED, b.NOW_S)
        assert not_dropped(survey) == (set() if whole else {MACS["sql"]})
