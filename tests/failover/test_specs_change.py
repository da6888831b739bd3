"""The specs change while a failover is open: hosts and VMs leave them, and nothing is left over."""

from dataclasses import replace

import pytest

from controller.failover.case import open_records
from controller.failover.orders import Promote
from controller.failover.situation import Progress, Situation
from controller.failover.states import RECORDED, Phase
from controller.model.failover.record import Proof, Record, RecordedHost, RecordedMachine
from tests.failover.builders import PARIS, driven, lost, machine, of, one, recorded

OFF = Proof("redfish", "its BMC was read Off", 0.0)
MINE = {"sql": RecordedMachine("uuid-sql", 7, "milan-1")}
RUNS = machine("sql", progress=Progress.HEALTHY, runs_on=("milan-1",), at="milan-1", home="milan-1",
               target="paris-1", may_run_on=(), epoch=1)
BEFORE = (Phase.REVOKING, Phase.FENCING, Phase.GATING)


def opened(phase: Phase, proofs: dict[str, Proof | None], *gone: str,
           **more: object) -> Situation:
    """A failover of paris in a phase; some of its hosts have left the specs since."""
    record = Record(scope="Site/paris", epoch=1, term=3, phase=phase, by="controller",
                    hosts={name: RecordedHost(f"boot-{name}", proof)
                           for name, proof in proofs.items()},
                    machines={} if phase in BEFORE else MINE, step=4)
    found = recorded(lost(**{"machines": (RUNS,), **more}), record)
    return replace(found, hosts={name: host for name, host in found.hosts.items()
                                 if name not in gone})


PROVEN = dict.fromkeys(PARIS, OFF)


@pytest.mark.parametrize("phase", sorted(RECORDED - {Phase.CALM}))
def test_a_failover_ends_once_all_its_hosts_have_left_the_specs(phase: Phase) -> None:
    found = opened(phase, PROVEN, *PARIS)
    for _ in range(4):
        if not open_records(found):
            return
        found = driven(found, rounds=1)
    assert open_records(found) == {}


@pytest.mark.parametrize("phase", BEFORE)
def test_nothing_is_promoted_any_more_once_all_hosts_have_left_before_that(phase: Phase) -> None:
    waits = machine("sql", home="", may_run_on=())
    decision = one(opened(phase, PROVEN, *PARIS, machines=(waits,)))
    assert decision.phase is Phase.CALM
    assert "paris-1, paris-2 left the specs" in decision.sentence


def test_a_vm_that_was_to_start_goes_on_although_its_host_has_left_the_specs() -> None:
    waits = machine("sql", home="", may_run_on=(), epoch=1)
    decision = one(opened(Phase.PROMOTING, PROVEN, *PARIS, machines=(waits,)))
    assert [order.machine for order in of(Promote, decision)] == ["sql"]


@pytest.mark.parametrize("home", ["paris-2", ""])
def test_a_host_that_left_unproven_lets_nothing_start(home: str) -> None:
    waits = machine("sql", home=home, may_run_on=(), epoch=1)
    decision = one(opened(Phase.PROMOTING, {"paris-1": OFF, "paris-2": None}, "paris-2",
                          machines=(waits,)))
    assert not of(Promote, decision)
    assert "sql may run on paris-2: it left the specs before" in " ".join(decision.waiting)
    assert decision.phase is not Phase.CALM


def test_a_failover_does_not_end_while_a_vm_of_it_is_nowhere() -> None:
    failed = machine("sql", home="", may_run_on=(), epoch=1, progress=Progress.FAILED,
                     detail="its pool is full")
    decision = one(opened(Phase.LED_ELSEWHERE, PROVEN, *PARIS, machines=(failed,)))
    assert decision.phase is Phase.LED_ELSEWHERE
    assert "none of its hosts is declared any more" in decision.sentence
    assert "its pool is full" in decision.sentence


def test_hosts_of_a_site_that_are_left_are_waited_for() -> None:
    decision = one(opened(Phase.LED_ELSEWHERE, PROVEN, "paris-2"))
    assert decision.phase is Phase.LED_ELSEWHERE
    assert "paris-1 does not answer" in decision.sentence
    assert "paris-2" not in decision.sentence


@pytest.mark.parametrize("phase", [Phase.LED_ELSEWHERE, Phase.PROTECTED_REVERSED])
def test_a_failover_whose_vms_have_left_the_specs_ends_when_its_hosts_have(phase: Phase) -> None:
    other = machine("web", "milan-2", target="paris-1", runs_on=("milan-2",))
    assert one(opened(phase, PROVEN, *PARIS, machines=(other,))).phase is Phase.CALM
