"""Waves by start order, with a width per host; who waits holds up nobody but its group."""

from dataclasses import replace

from controller.failover.orders import Promote
from controller.failover.situation import Gate, MachineSituation, Progress, Request
from controller.failover.states import Phase
from tests.failover.builders import driven, grants, host, lost, machine, of, one

SIX = tuple(machine(f"vm{number}", start_order=number // 3) for number in range(6))


def starts(*machines: MachineSituation, **more: object) -> list[str]:
    """Which VMs start next."""
    return [order.machine for order in of(Promote, one(driven(lost(machines=machines, **more))))]


def running(name: str, progress: Progress, **more: object) -> MachineSituation:
    """A VM that was started at milan-1."""
    return machine(name, progress=progress, runs_on=("milan-1",), **more)


def begun(**progress: Progress) -> list[str]:
    """Which of the six start next, with the promotion under way."""
    situation = driven(lost(machines=SIX))
    known = {name: replace(situation.machines[name], progress=each,
                           runs_on=() if each is Progress.FAILED else ("milan-1",))
             for name, each in progress.items()}
    later = replace(situation, machines=situation.machines | known)
    return [order.machine for order in of(Promote, one(later))]


def test_so_many_at_once_on_a_host_as_its_width_says() -> None:
    assert starts(*SIX) == ["vm0", "vm1"]
    assert starts(*SIX, hosts={"milan-1": host("milan-1", start_width=9)}) == ["vm0", "vm1", "vm2"]
    other = replace(SIX[2], target="milan-2")
    assert starts(*SIX[:2], other) == ["vm0", "vm1", "vm2"]


def test_those_of_which_nothing_is_wanted_but_that_they_run_take_no_place() -> None:
    three = [replace(one, watched=False) for one in SIX[:3]]
    assert starts(*three) == ["vm0", "vm1", "vm2"]
    assert starts(*three[:1], *SIX[1:3]) == ["vm0", "vm1", "vm2"]
    assert starts(*three, *SIX[3:]) == ["vm0", "vm1", "vm2"]    # the next wave waits all the same


def test_one_that_is_healthy_makes_room_for_the_next_of_its_wave_alone() -> None:
    assert begun(vm0=Progress.STARTING, vm1=Progress.STARTING) == []
    assert begun(vm0=Progress.HEALTHY, vm1=Progress.STARTING) == ["vm2"]
    assert begun(vm0=Progress.HEALTHY, vm1=Progress.HEALTHY, vm2=Progress.STARTING) == []


def test_a_wave_goes_on_when_its_limit_has_passed_or_a_start_failed() -> None:
    over = {"vm0": Progress.HEALTHY, "vm1": Progress.UNPROVEN, "vm2": Progress.FAILED}
    assert begun(**over) == ["vm3", "vm4"]


def test_started_not_proven_and_failed_are_said_of_each() -> None:
    situation = driven(lost(machines=SIX[:2]))
    situation = replace(situation, machines={
        "vm0": running("vm0", Progress.UNPROVEN, detail="port 5432 is closed"),
        "vm1": machine("vm1", progress=Progress.FAILED, detail="no such machine type")})
    decision = one(situation)
    assert decision.phase is Phase.LED_ELSEWHERE
    assert decision.waiting == ("vm0 is started, not proven: port 5432 is closed",
                                "vm1 could not be started: no such machine type")


def test_a_group_waits_for_its_gated_member_and_the_others_go_on() -> None:
    gated = machine("db", group="erp", gates=(Gate(sentence="3 d of db would be lost"),))
    app = machine("app", group="erp")
    decision = one(driven(lost(machines=(gated, app, machine("web")))))
    assert of(Promote, decision) == [Promote("web", 7, "milan-1", 1)]
    assert decision.waiting == ("app waits for db, which is of its group",
                                "3 d of db would be lost")


def test_nothing_is_begun_for_a_vm_whose_group_waits() -> None:
    db = machine("db", group="erp", failover="confirm")
    decision = one(lost(machines=(db, machine("app", group="erp"))))
    assert (decision.phase, decision.orders) == (Phase.AWAITING_HUMAN, ())
    assert "db waits for `hotsite failover paris`" in decision.sentence


def test_a_loss_is_taken_by_a_person_and_a_full_host_is_not() -> None:
    order = (Request(target="Site/paris", by="ada", accepts_loss=True),)
    old = machine("sql", gates=(Gate(sentence="3 d would be lost", yields=True),))
    full = machine("web", gates=(Gate(sentence="milan-1 is full"),))
    assert starts(old, full, requests=order) == ["sql"]
    assert starts(old, machine("app"), requests=(
        replace(order[0], accepts_loss=False),)) == ["app"]


def test_a_second_dead_host_holds_its_vms_back_and_says_so() -> None:
    situation = driven(lost(machines=(machine("sql"), machine("web", target="milan-2"))))
    dead = replace(situation, hosts=situation.hosts | {
        "milan-1": replace(situation.hosts["milan-1"], silent_s=60.0)})
    decision = one(dead)
    assert of(Promote, decision) == [Promote("web", 7, "milan-2", 1)]
    assert "sql was to start on milan-1, which does not answer now" in decision.waiting


def test_a_vm_that_may_run_on_a_silent_host_of_another_case_waits() -> None:
    both = machine("sql", may_run_on=("paris-1", "milan-2"))
    situation = lost("paris-1", "milan-2", machines=(both, machine("app")), hosts={
        "paris-1": host("paris-1", 60.0, grants=grants(revoked=9))})
    decision = one(driven(situation, "Host/paris-1"), "Host/paris-1")
    assert of(Promote, decision) == [Promote("app", 7, "milan-1", decision.epoch)]
    assert "sql may run on milan-2, which is silent and not of this failover" in decision.waiting


def test_the_sentence_of_a_large_case_can_be_read_at_once() -> None:
    full = Gate(sentence="milan-1 is full")
    many = tuple(machine(f"vm{number}", gates=(replace(full, sentence=f"no room for vm{number}"),))
                 for number in range(35))
    situation = driven(lost(machines=(*many, machine("zoo"))), rounds=2)
    gated = driven(replace(situation, machines={each.name: each for each in many}), rounds=1)
    decision = one(gated)
    assert decision.phase is Phase.AWAITING_HUMAN
    assert decision.sentence == (
        "site paris is proven off, and its VMs wait for a person: no room for vm0; no room for vm1;"
        " no room for vm10; no room for vm11; and 31 more")
    assert len(decision.waiting) == 35


def test_one_vm_alone_can_be_ordered() -> None:
    every = tuple(machine(name, failover="manual") for name in ("app", "sql"))
    assert starts(*every, requests=(Request(target="VirtualMachine/sql", by="ada"),)) == ["sql"]
    grouped = tuple(replace(each, group="erp") for each in every)
    assert starts(*grouped, requests=(Request(target="Group/erp", by="ada"),)) == ["app", "sql"]


def test_a_controller_inside_the_estate_decides_nothing_by_itself() -> None:
    inside = "this controller is the VM `ops` of paris"
    decision = one(lost(controller_inside=inside))
    assert decision.phase is Phase.AWAITING_HUMAN
    assert inside in decision.sentence
