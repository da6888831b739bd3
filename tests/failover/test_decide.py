"""A lost site from suspicion to promotion, and every rule that holds it back."""

from dataclasses import replace

import pytest

from controller.failover.decide import decide
from controller.failover.fencing import Trial, judge_host
from controller.failover.orders import (
    DropAddresses,
    Fence,
    Promote,
    Quarantine,
    Restore,
    Revoke,
    WriteRecord,
)
from controller.failover.situation import Bmc, Gate, HostSituation, Lease, Progress, Request, Word
from controller.failover.states import Phase
from tests.failover.builders import (
    OFF,
    PARIS,
    driven,
    grants,
    host,
    lost,
    machine,
    of,
    one,
    witness,
    written,
)


def test_a_lost_site_is_given_up_step_by_step_and_each_step_is_recorded_first() -> None:
    open_grants = {name: host(name, 60.0, grants=grants(age_s=50.0, revoked=0))
                   for name in ("paris-1", "paris-2")}
    situation = lost(hosts=open_grants)
    first = one(situation)
    assert first.phase is Phase.REVOKING
    assert [type(order) for order in first.orders] == [WriteRecord]
    assert first.orders[0].nodes == ("hq", "milan-1", "milan-2")
    situation = written(situation, first)
    second = one(situation)
    assert second.phase is Phase.REVOKING
    assert of(Revoke, second) == [Revoke(grantor, ("paris-1", "paris-2"), 1)
                                  for grantor in ("controller", "hq", "milan-1", "milan-2")]
    revoked = lost(records=situation.records)
    phases = []
    for _ in range(3):
        decision = one(revoked)
        phases.append(decision.phase)
        revoked = written(revoked, decision)
    assert phases == [Phase.FENCING, Phase.PROMOTING, Phase.PROMOTING]
    last = one(revoked)
    assert of(Promote, last) == [Promote("sql", 7, "milan-1", 1)]
    assert of(DropAddresses, last) == [DropAddresses(("sql", "web"), 1)]


def test_the_next_wave_starts_when_the_first_is_healthy() -> None:
    situation = driven(lost())
    healthy = replace(situation.machines["sql"], progress=Progress.HEALTHY, runs_on=("milan-1",))
    situation = replace(situation, machines=situation.machines | {"sql": healthy})
    assert of(Promote, one(situation)) == [Promote("web", 7, "milan-1", 1)]
    both = {name: replace(each, progress=Progress.HEALTHY, runs_on=("milan-1",))
            for name, each in situation.machines.items()}
    done = one(replace(situation, machines=both))
    assert done.phase is Phase.LED_ELSEWHERE
    assert "2 of 2 are healthy" in done.sentence


def test_a_silent_witness_is_no_agreement_and_is_named() -> None:
    decision = one(lost(views=(witness(("paris-1", "paris-2"), age_s=None),)))
    assert decision.phase is Phase.SUSPECTED
    assert decision.waits_for == ("hq",)
    assert decision.sentence == ("site paris is silent, and one view is not enough: hq is silent,"
                                 " which is no agreement; where it is lost, order"
                                 " `hotsite failover paris`")


def test_a_witness_that_hears_one_host_means_our_link() -> None:
    decision = one(lost(views=(witness(("paris-1",)),)))
    assert decision.phase is Phase.LINK_SUSPECTED
    assert {type(order) for order in decision.orders} == {Restore}   # what an earlier try left
    assert "it is our link, not site paris: hq still hears paris-2" in decision.sentence


def test_both_sites_silent_is_our_own_link() -> None:
    names = ("paris-1", "paris-2", "milan-1", "milan-2")
    decision = one(lost(*names))
    assert (decision.phase, decision.orders) == (Phase.SUSPECTED, ())
    assert "nothing is done" in decision.sentence


def test_half_a_site_is_a_case_for_each_host() -> None:
    decision = one(lost("paris-1"), "Host/paris-1")
    assert decision.phase is Phase.REVOKING
    assert decision.sentence.startswith("host paris-1 is given up")


def test_without_a_fresh_lease_nothing_is_ordered_in_any_phase() -> None:
    situation = lost(lease=Lease(term=3, fresh=False, holder="hotsite-2"))
    decision = one(situation)
    assert (decision.phase, decision.orders) == (Phase.AGREED, ())
    assert decision.waits_for == ("hotsite-2",)
    late = replace(driven(lost()), lease=Lease(term=4, fresh=False, holder="hotsite-2"))
    assert one(late).orders == ()


def test_the_next_conductor_writes_its_term_before_it_goes_on() -> None:
    situation = replace(driven(lost()), lease=Lease(term=4))
    decision = one(situation)
    assert decision.phase is Phase.PROMOTING
    assert [type(order) for order in decision.orders] == [WriteRecord]
    assert decision.orders[0].record.term == 4
    assert of(Promote, one(written(situation, decision)))


def test_confirm_waits_for_a_person_and_goes_on_when_one_orders_it() -> None:
    situation = lost(machines=(machine("sql", failover="confirm"),))
    decision = one(situation)
    assert decision.phase is Phase.AWAITING_HUMAN
    assert decision.waits_for == ("a person",)
    assert "sql waits for `hotsite failover paris`" in decision.sentence
    asked = replace(situation, requests=(Request(target="Site/paris", by="ada"),))
    assert one(asked).phase is Phase.REVOKING
    assert of(Promote, one(driven(asked))) == [Promote("sql", 7, "milan-1", 1)]


def test_what_a_person_ordered_is_in_the_record_and_outlives_the_order() -> None:
    situation = driven(lost(machines=(machine("sql", failover="manual"),),
                            requests=(Request(target="Site/paris", by="ada"),)), rounds=2)
    assert of(Promote, one(driven(replace(situation, requests=()))))


def test_a_failover_of_a_healthy_site_is_refused() -> None:
    situation = lost("paris-1", requests=(Request(target="Site/milan", by="ada"),))
    decision = one(situation, "Site/milan")
    assert decision.orders == ()
    assert decision.sentence == (
        "`hotsite failover` of Site/milan by ada is refused: milan-1, milan-2 answered less than"
        " 15 s ago; to move what is well, order it as `--planned`")


def test_seen_again_in_time_everything_is_undone() -> None:
    young = {name: host(name, 60.0, grants=grants(age_s=20.0)) for name in ("paris-1", "paris-2")}
    situation = driven(lost(hosts=young), rounds=2)
    assert one(situation).phase is Phase.FENCING
    back = replace(situation, hosts=situation.hosts | {
        "paris-1": replace(situation.hosts["paris-1"], silent_s=1.0)})
    decision = one(back)
    assert decision.phase is Phase.CALM
    assert {order.grantor for order in of(Restore, decision)} == {
        "controller", "hq", "milan-1", "milan-2"}
    assert decision.orders[0].record.phase == "calm"


def test_seen_again_after_the_point_of_no_return_it_is_returning() -> None:
    situation = driven(lost(hosts={
        "paris-2": host("paris-2", 60.0, grants=grants(age_s=40.0))}), rounds=2)
    back = replace(situation, hosts=situation.hosts | {
        "paris-1": replace(situation.hosts["paris-1"], silent_s=1.0)})
    decision = one(back)
    assert decision.phase is Phase.RETURNING
    assert of(Restore, decision) == []          # the record first
    after = one(written(back, decision))
    assert {type(order).__name__ for order in after.orders} == {"Restore", "Resume"}


def test_revocations_that_no_record_explains_are_restored_when_the_host_is_seen() -> None:
    situation = lost("milan-9", hosts={"paris-1": host("paris-1", grants=grants(revoked=4))})
    decision = one(situation, "Host/paris-1")
    assert decision.phase is Phase.CALM
    assert {order.epoch for order in decision.orders} == {4}


def test_a_gated_vm_waits_for_a_person_and_the_others_go_on() -> None:
    old = Gate(sentence="3 d of sql would be lost", yields=True)
    machines = (machine("sql", gates=(old,)), machine("web"))
    decision = one(driven(lost(machines=machines)))
    assert of(Promote, decision) == [Promote("web", 7, "milan-1", 1)]
    assert decision.waiting == ("3 d of sql would be lost",)
    accepted = lost(machines=machines, requests=(
        Request(target="VirtualMachine/sql", by="ada", accepts_loss=True),))
    assert {order.machine for order in of(Promote, one(driven(accepted)))} == {"sql", "web"}


def test_nothing_is_begun_where_no_vm_could_start_elsewhere() -> None:
    full = Gate(sentence="milan-1 has no memory for sql")
    decision = one(lost(machines=(machine("sql", gates=(full,)),)))
    assert (decision.phase, decision.orders) == (Phase.AWAITING_HUMAN, ())
    assert "milan-1 has no memory for sql" in decision.sentence


def test_an_old_copy_that_is_seen_to_run_stops_every_wave() -> None:
    situation = driven(lost())
    back = replace(situation, machines=situation.machines | {
        "web": replace(situation.machines["web"], runs_on=("paris-2",))})
    decision = one(back)
    assert decision.phase is Phase.SPLIT_BRAIN
    assert of(Promote, decision) == []
    assert "SPLIT BRAIN at site paris, every wave is stopped: web runs on paris-2" in (
        decision.sentence)
    assert one(driven(replace(situation, records=driven(back).records))).phase is Phase.PROMOTING


def test_a_site_that_dies_while_it_is_moved_is_given_up_host_by_host() -> None:
    moving = lost("x", requests=(Request(target="Site/paris", by="ada", planned=True),))
    situation = driven(moving, rounds=2)
    assert one(situation).phase is Phase.MOVING_BACK
    dead = replace(lost(records=situation.records), requests=())
    assert one(dead).phase is Phase.CALM
    assert "sql waits for paris-1, which does not answer" in one(dead).sentence
    assert one(dead, "Host/paris-1").phase is Phase.REVOKING


def test_a_host_that_is_back_is_granted_to_again_once_no_old_copy_runs_there() -> None:
    situation = driven(lost(machines=(machine("sql"), machine("web", "paris-2"))))
    healthy = {name: replace(each, progress=Progress.HEALTHY, runs_on=("milan-1",),
                             may_run_on=()) for name, each in situation.machines.items()}
    led = driven(replace(situation, machines=healthy))
    back = {"paris-1": replace(led.hosts["paris-1"], silent_s=1.0)}
    returning = driven(replace(led, hosts=led.hosts | back), rounds=2)
    assert one(returning).phase is Phase.RETURNING
    assert {order.hosts for order in of(Restore, one(returning))} == {("paris-1",)}
    running = {"sql": replace(healthy["sql"], runs_on=("milan-1", "paris-1"))}
    seen = replace(returning, machines=healthy | running)
    assert of(Restore, one(seen)) == []
    assert of(Quarantine, one(seen)) == [Quarantine("paris-1", ("sql", "web"), 1)]


def test_a_bmc_is_told_to_cut_the_power_until_it_reads_off_twice() -> None:
    on = {name: host(name, 60.0, bmc=Bmc(on=True, age_s=1.0), guarded=False, grants=())
          for name in ("paris-1", "paris-2")}
    situation = driven(lost(hosts=on))
    assert of(Fence, one(situation)) == [Fence("paris-1", 1), Fence("paris-2", 1)]
    off = {name: replace(each, bmc=OFF) for name, each in on.items()}
    assert of(Promote, one(driven(replace(situation, hosts=situation.hosts | off))))


def test_a_grantor_that_cannot_be_asked_is_named() -> None:
    silent = grants(**{"milan-2": replace(grants()[3], age_s=None, revoked=0)})
    situation = driven(lost(hosts={"paris-1": host("paris-1", 60.0, grants=silent)}))
    decision = one(situation)
    assert decision.phase is Phase.REVOKING
    assert decision.waits_for == ("milan-2",)
    assert decision.sentence == ("the grants to site paris are being revoked: milan-2 cannot be"
                                 " asked whether paris-1 still reaches it; bring it back, or where"
                                 " you know that paris-1 is off: `hotsite confirm-fenced paris-1`")


def test_what_is_true_of_several_hosts_is_said_once_and_what_a_person_can_do() -> None:
    refused = {name: host(name, 60.0, grants=grants(), guarded=False,
                          bmc=Bmc(failed="it refuses our password"))
               for name in ("paris-1", "paris-2")}
    decision = one(driven(lost(hosts=refused)))
    assert decision.phase is Phase.FENCING
    assert decision.sentence == (
        "site paris is not proven off yet: the BMC of paris-1: it refuses our password (the same of"
        " paris-2); no guard was seen on paris-1 before (the same of paris-2); where you know that"
        " it is off: `hotsite confirm-fenced paris-1`")


def test_nobody_is_asked_to_swear_while_time_alone_is_missing() -> None:
    young = {name: host(name, 60.0, grants=grants(age_s=20.0), fencing=("guard",))
             for name in ("paris-1", "paris-2")}
    decision = one(driven(lost(hosts=young)))
    assert decision.phase is Phase.FENCING
    assert "s are needed" in decision.sentence
    assert "confirm-fenced" not in decision.sentence


def test_a_vm_that_runs_does_not_wait() -> None:
    machines = (machine("sql"), machine("web", "paris-2", runs_on=("paris-2",), may_run_on=()))
    waiting = one(driven(lost(machines=machines))).waiting
    assert not any("web" in sentence for sentence in waiting)


FRESH_START = {name: host(name, 1.0, unheard_s=3600.0, grants=grants())
               for name in ("paris-1", "paris-2")}


def test_what_was_silent_while_nobody_listened_is_not_suspected_and_does_not_answer() -> None:
    just_begun = lost(hosts=FRESH_START)
    assert [each for each in decide(just_begun) if each.scope.endswith("paris")] == []
    under_way = driven(lost())
    assert under_way.records
    begun_again = one(replace(under_way, hosts=under_way.hosts | FRESH_START, listening_s=1.0))
    assert begun_again.phase is one(under_way).phase    # not back, and not given up anew
    assert of(Restore, begun_again) == []


def test_a_word_outlives_a_restart_of_the_controller() -> None:
    word = Word(by="ada", reason="pulled its cords", boot_id="boot-paris-1", age_s=600.0)
    again = host("paris-1", 20.0, unheard_s=3600.0, grants=(), guarded=False, word=word)

    def proven(seen: HostSituation) -> bool:
        trial = Trial(lost(hosts={"paris-1": seen}), 1, None, ordered=True, spares=())
        return judge_host(seen, trial).proof is not None

    assert proven(again)
    assert not proven(replace(again, unheard_s=20.0))


@pytest.mark.parametrize(("guarded", "phase"), [(True, Phase.PROMOTING), (False, Phase.FENCING)])
def test_a_successor_that_never_saw_the_hosts_goes_by_what_was_written_of_their_guards(
        guarded: bool, phase: Phase) -> None:
    begun = driven(lost(hosts={name: host(name, 60.0, guarded=guarded, grants=grants(age_s=20.0))
                               for name in PARIS}), rounds=4)
    assert one(begun).phase is Phase.FENCING
    unseen = {name: host(name, 60.0, heard=False, boot_id="", guarded=False, watchdog=False,
                         grants=grants()) for name in PARIS}
    later = replace(begun, hosts=begun.hosts | unseen, listening_s=60.0)
    decision = one(driven(later, rounds=3))
    assert decision.phase is phase
    if not guarded:
        assert "this controller never saw paris-1, nor whether its guard ran" in decision.sentence
