"""What proves a host off, and every reason why it does not."""

from dataclasses import replace

import pytest

from controller.failover.fencing import Fencing, Trial, covers, judge_host
from controller.failover.inequality import least_wait_s, undone_until_s, wait_s
from controller.failover.situation import Bmc, Grant, HostSituation, Word
from controller.model.failover.record import Proof, RecordedHost
from controller.model.failover.spec import GuardSpec
from tests.failover.builders import MILAN, OFF, grants, host, lost, machine

GUARD = GuardSpec()


def judged(one: HostSituation, *, others: dict[str, HostSituation] | None = None,
           epoch: int = 1, recorded: RecordedHost | None = None, ordered: bool = False,
           spares: tuple[str, ...] = ()) -> Fencing:
    """What is known of paris-1, if it is like this."""
    situation = lost(hosts={"paris-1": one, **(others or {})})
    return judge_host(one, Trial(situation, epoch, recorded, ordered, spares))


def gone(**more: object) -> HostSituation:
    """paris-1, silent for a minute, with every grant revoked for long enough."""
    whole = {"silent_s": 60.0, "grants": grants(), **more}
    return host("paris-1", whole.pop("silent_s"), **whole)


def test_the_inequality_with_the_defaults() -> None:
    assert least_wait_s(GUARD, watchdog=True) == pytest.approx(44.723)
    assert least_wait_s(GUARD, watchdog=False) == pytest.approx(35.633)
    assert undone_until_s(GUARD) == pytest.approx(27.7)


def test_a_declared_wait_may_be_longer_and_never_shorter() -> None:
    assert wait_s(GuardSpec(wait="60s"), watchdog=True) == 60.0
    assert wait_s(GuardSpec(wait="40s"), watchdog=True) == pytest.approx(44.723)
    assert wait_s(GuardSpec(wait="40s"), watchdog=False) == 40.0


def test_every_grantor_refuses_for_long_enough() -> None:
    proof = judged(gone()).proof
    assert proof is not None
    assert (proof.how, proof.sentence) == (
        "guard", "no grantor of paris-1 has granted for 45s: its guests are gone")


@pytest.mark.parametrize(("one", "why"), [
    (gone(guarded=False), "no guard was seen on paris-1 before"),
    (gone(grants=()), "paris-1 has no grantor that could refuse it"),
    (gone(grants=grants(age_s=44.0)),
     "controller granted to paris-1 44 s ago, and 45 s are needed"),
    (gone(grants=grants(hq=Grant(grantor="hq", age_s=80.0))), "hq still grants to paris-1"),
    (gone(grants=grants(hq=Grant(grantor="hq", age_s=None, revoked=1))),
     "hq cannot be asked whether paris-1 still reaches it"),
    (gone(watchdog=False),
     "paris-1 has neither watchdog nor BMC: frozen now, it could come back with its guests, and"
     " `acceptFreeze` is not declared"),
    (gone(fencing=("redfish",)), "paris-1 has no BMC"),
    (gone(guarded=False, bmc=Bmc(on=True, age_s=1.0)), "the BMC of paris-1: On"),
    (gone(guarded=False, bmc=Bmc(age_s=1.0, sentence="PoweringOff for 40 s")),
     "the BMC of paris-1: PoweringOff for 40 s"),
    (gone(guarded=False, bmc=Bmc()), "the BMC of paris-1: it does not answer"),
    (gone(guarded=False, bmc=Bmc(failed="401")), "the BMC of paris-1: 401"),
    (gone(guarded=False, bmc=replace(OFF, off_reads=1)),
     "the BMC of paris-1: read Off 1 of 2 times"),
    (gone(guarded=False, bmc=replace(OFF, age_s=31.0)), "the BMC of paris-1: it does not answer"),
    (gone(guarded=False, bmc=replace(OFF, distrust="its UUID differs")), "its UUID differs"),
    (gone(guarded=False, bmc=replace(OFF, off_s=70.0)),
     "paris-1 answered while its BMC read Off: it is the BMC of another machine"),
    (gone(guarded=False, word=Word(by="ada", reason="", boot_id="other", age_s=5.0)),
     "what ada said of paris-1 holds no more: it was heard since, or has booted again"),
    (gone(guarded=False, word=Word(by="ada", reason="", boot_id="boot-paris-1", age_s=61.0)),
     "what ada said of paris-1 holds no more: it was heard since, or has booted again"),
])
def test_what_proves_nothing_says_why(one: HostSituation, why: str) -> None:
    found = judged(one)
    assert found.proof is None
    assert why in found.blockers


@pytest.mark.parametrize("more", [{"bmc": Bmc(failed="ConnectTimeout")}, {"accept_freeze": True}])
def test_without_a_watchdog_a_bmc_or_an_acceptance_lets_the_guard_prove(
        more: dict[str, object]) -> None:
    young = grants(age_s=36.0)
    assert judged(gone(watchdog=False, grants=young, **more)).proof is not None
    assert judged(gone(grants=young, **more)).proof is None


def test_a_person_takes_the_risk_of_a_freeze() -> None:
    assert judged(gone(watchdog=False), ordered=True).proof is not None


def test_grants_revoked_for_an_older_failover_count_for_nothing() -> None:
    assert judged(gone(), epoch=2).proof is None


def test_a_silent_grantor_counts_once_it_is_itself_off_for_so_long() -> None:
    silent = gone(grants=grants(**{"milan-2": Grant(grantor="milan-2", age_s=None)}))
    for off_s, enough in ((44.0, False), (45.0, True)):
        dead = host("milan-2", 99.0, bmc=replace(OFF, off_s=off_s))
        assert (judged(silent, others={"milan-2": dead}).proof is not None) is enough
    word = Word(by="ada", reason="burnt", boot_id="boot-milan-2", age_s=50.0)
    assert judged(silent, others={"milan-2": host("milan-2", 99.0, word=word)}).proof is not None


def test_a_grantor_whose_guard_has_acted_may_go_on_granting() -> None:
    silent = gone(grants=grants(**{"milan-2": Grant(grantor="milan-2", age_s=None)}))
    ended = host("milan-2", 99.0, grants=grants(names=("hq",)))
    found = judged(silent, others={"milan-2": ended})
    assert found.proof is None
    assert found.waits_for == ("milan-2", "paris-1")


def test_a_persons_word_and_a_bmc_outweigh_the_guard() -> None:
    word = Word(by="ada", reason="looked", boot_id="boot-paris-1", age_s=5.0)
    assert judged(gone(word=word, bmc=OFF)).proof.how == "human"
    assert judged(gone(bmc=OFF)).proof.how == "redfish"


def test_a_guard_proves_nothing_of_a_vm_that_goes_on_where_it_is_cut_off() -> None:
    guard, redfish = judged(gone()).proof, judged(gone(bmc=OFF)).proof
    spared = machine("sql", isolation="run")
    assert covers(guard, machine("sql"))
    assert not covers(guard, spared)
    assert covers(redfish, spared)


def test_a_recorded_proof_holds_while_nothing_speaks_against_it() -> None:
    recorded = RecordedHost("boot-paris-1", Proof("redfish", "it was Off", 0.0))
    bare = gone(guarded=False, grants=())
    assert judged(bare, recorded=recorded).proof == recorded.proof
    assert judged(replace(bare, bmc=Bmc(on=True, age_s=1.0)), recorded=recorded).proof is None
    assert judged(replace(bare, boot_id="other"), recorded=recorded).proof is None
    assert judged(replace(bare, silent_s=1.0), recorded=recorded).proof is None
    guard = replace(recorded, proof=Proof("guard", "they are gone", 0.0))
    assert judged(bare, recorded=guard).proof is not None
    assert judged(replace(bare, grants=grants(age_s=50.0, revoked=0)), recorded=guard).proof is None


def test_a_controller_that_began_a_moment_ago_keeps_what_is_recorded() -> None:
    recorded = RecordedHost("boot-paris-1", Proof("redfish", "it was Off", 0.0))
    never_heard = gone(guarded=False, grants=(), silent_s=1.0, heard=False)
    assert judged(never_heard, recorded=recorded).proof == recorded.proof


BMC_ON = Bmc(on=True, age_s=1.0)


@pytest.mark.parametrize(("one", "more", "cut"), [
    (gone(grants=grants(age_s=20.0), bmc=BMC_ON), {}, True),
    (gone(bmc=BMC_ON), {}, False),                                     # guarded off already
    (gone(bmc=OFF), {}, False),
    (gone(guarded=False, bmc=replace(BMC_ON, failed="401")), {}, False),
    (gone(guarded=False, bmc=replace(BMC_ON, distrust="its UUID differs")), {}, False),
    (gone(guarded=False, bmc=BMC_ON, fencing=("guard",)), {}, False),
    (gone(grants=grants(age_s=20.0), bmc=BMC_ON, fencing=("guard", "redfish")), {}, False),
    (gone(grants=grants(age_s=None), bmc=BMC_ON, fencing=("guard", "redfish")), {}, True),
    (gone(guarded=False, bmc=BMC_ON), {"spares": ("wiki",)}, False),
    (gone(guarded=False, bmc=BMC_ON), {"spares": ("wiki",), "ordered": True}, True),
    (gone(bmc=BMC_ON), {"spares": ("wiki",), "ordered": True}, True),
])
def test_when_a_bmc_is_told_to_cut_the_power(one: HostSituation, more: dict[str, object], *,
                                             cut: bool) -> None:
    assert judged(one, **more).cut_power is cut


def test_a_host_with_vms_that_should_go_on_says_why_it_keeps_its_power() -> None:
    found = judged(gone(guarded=False, bmc=BMC_ON), spares=("wiki",))
    assert found.blockers[0] == ("paris-1 is not powered off by itself, since wiki should go on"
                                 " there (`isolation: run`)")
    assert MILAN
