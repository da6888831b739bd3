"""Under arbitrary situations: no VM is promoted that any host could still run, and nothing is done
without a lease, two places or a person."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import hypothesis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.failover.decide import decide
from controller.failover.fencing import covers
from controller.failover.inequality import least_wait_s
from controller.failover.orders import Fence, Promote, Restore, Resume, Revoke, WriteRecord
from controller.failover.situation import (
    Bmc,
    Gate,
    Grant,
    HostSituation,
    Lease,
    MachineSituation,
    Progress,
    RecordCopy,
    Request,
    Situation,
    View,
    Word,
)
from controller.failover.states import RECORDED
from controller.model.failover.record import Proof, Record, RecordedHost, RecordedMachine
from controller.model.failover.spec import GuardSpec
from tests.failover.builders import MILAN, OFF, PARIS, driven, host, lost
from tests.simulation.failover import plants

HOSTS = (*PARIS, *MILAN)
AGES_S = st.sampled_from((0.0, 1.0, 14.0, 16.0, 30.0, 36.0, 44.0, 45.0, 60.0, 500.0))
GRANTS = st.tuples(*(st.builds(
    Grant, grantor=st.just(name), age_s=st.one_of(st.none(), AGES_S), revoked=st.integers(0, 3))
    for name in ("controller", "hq", *MILAN)))
BMCS = st.one_of(st.none(), st.builds(
    Bmc, off_reads=st.integers(0, 3), off_s=AGES_S, on=st.booleans(), age_s=st.one_of(
        st.none(), AGES_S), failed=st.sampled_from(("", "401")),
    distrust=st.sampled_from(("", "its UUID differs"))))
WORDS = st.one_of(st.none(), st.builds(
    Word, by=st.just("ada"), reason=st.just("looked"), age_s=AGES_S,
    boot_id=st.sampled_from(("a", "b"))))
PHASES = st.sampled_from(sorted(RECORDED))


@st.composite
def hosts(draw: st.DrawFn, name: str) -> HostSituation:
    """Any host."""
    return HostSituation(
        name=name, site=name.partition("-")[0], silent_s=draw(AGES_S), heard=draw(st.booleans()),
        boot_id=draw(st.sampled_from(("a", "b"))), guarded=draw(st.booleans()),
        watchdog=draw(st.booleans()), accept_freeze=draw(st.booleans()),
        fencing=draw(st.sampled_from((("redfish", "guard"), ("guard", "redfish"), ("guard",),
                                      ("redfish",), ()))),
        grants=draw(st.one_of(st.just(()), GRANTS)), bmc=draw(BMCS), word=draw(WORDS))


@st.composite
def machines(draw: st.DrawFn, name: str) -> MachineSituation:
    """Any VM."""
    return MachineSituation(
        name=name, uuid=name, home=draw(st.sampled_from(HOSTS)),
        may_run_on=tuple(draw(st.lists(st.sampled_from(HOSTS), max_size=2, unique=True))),
        failover=draw(st.sampled_from(("automatic", "automatic", "confirm", "manual"))),
        isolation=draw(st.sampled_from(("stop", "stop", "run"))),
        group=draw(st.sampled_from((None, "erp"))), start_order=draw(st.sampled_from((1, 2))),
        target=draw(st.sampled_from((None, *HOSTS))), point=draw(st.sampled_from((None, 7))),
        gates=draw(st.sampled_from(((), (), (Gate(sentence="old", yields=True),)))),
        runs_on=tuple(draw(st.lists(st.sampled_from(HOSTS), max_size=1))),
        progress=draw(st.sampled_from(Progress)), diverged_known=draw(st.booleans()),
        reverse_fresh=draw(st.booleans()), at_home=draw(st.booleans()))


@st.composite
def records(draw: st.DrawFn) -> tuple[RecordCopy, ...]:
    """A record of paris, or of one of its hosts, on any nodes, old or new."""
    scope = draw(st.sampled_from(("Site/paris", "Host/paris-1")))
    proof = st.one_of(st.none(), st.builds(
        Proof, how=st.sampled_from(("redfish", "guard", "human")), sentence=st.just("off"),
        at=st.just(0.0)))
    return tuple(
        RecordCopy(node=node, record=Record(
            scope=scope, epoch=draw(st.integers(1, 2)), term=draw(st.integers(2, 3)),
            phase=draw(PHASES), by="controller", step=draw(st.integers(0, 2)),
            hosts={name: RecordedHost(draw(st.sampled_from(("a", "b"))), draw(proof))
                   for name in (PARIS if scope == "Site/paris" else PARIS[:1])},
            machines=draw(st.sampled_from(({}, {"sql": RecordedMachine("sql", 7, "milan-1")}))),
            ordered=draw(st.sampled_from(((), ("Site/paris",))))))
        for node in draw(st.lists(st.sampled_from(("hq", *MILAN)), unique=True)))


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    """A failover at any stage, in which up to four things are as they may be anywhere."""
    found = draw(st.sampled_from(STAGES))
    for _ in range(draw(st.integers(0, 4))):
        found = replace(found, **draw(st.sampled_from(CHANGES))(draw, found))
    return found


def new_host(draw: st.DrawFn, found: Situation) -> dict[str, object]:
    """One host is anything."""
    name = draw(st.sampled_from(HOSTS))
    return {"hosts": found.hosts | {name: draw(hosts(name))}}


def new_grant(draw: st.DrawFn, found: Situation) -> dict[str, object]:
    """One grantor says anything of one host, and that is guarded, or has a watchdog, or not."""
    host = found.hosts.get(draw(st.sampled_from(PARIS)))
    if host is None or not host.grants:
        return {}
    number = draw(st.integers(0, len(host.grants) - 1))
    grants = tuple(draw(GRANTS)[number] if index == number else one
                   for index, one in enumerate(host.grants))
    return {"hosts": found.hosts | {host.name: replace(
        host, grants=grants, guarded=draw(st.booleans()), watchdog=draw(st.booleans()))}}


def new_machine(draw: st.DrawFn, found: Situation) -> dict[str, object]:
    """One VM is anything."""
    if not found.machines:
        return {}
    name = draw(st.sampled_from(sorted(found.machines)))
    return {"machines": found.machines | {name: draw(machines(name))}}


def new_home(draw: st.DrawFn, found: Situation) -> dict[str, object]:
    """One VM may run on any hosts, and is seen on any, or may go on where it is cut off."""
    if not found.machines:
        return {}
    name = draw(st.sampled_from(sorted(found.machines)))
    return {"machines": found.machines | {name: replace(
        found.machines[name], isolation=draw(st.sampled_from(("stop", "run"))),
        may_run_on=tuple(draw(st.lists(st.sampled_from(HOSTS), max_size=2, unique=True))),
        runs_on=tuple(draw(st.lists(st.sampled_from(HOSTS), max_size=1))))}}


def new_view(draw: st.DrawFn, found: Situation) -> dict[str, object]:
    """The witness says anything, and this controller is anywhere."""
    view = View(by="hq", place=draw(st.sampled_from(("hq", "milan", "paris"))),
                age_s=draw(st.one_of(st.none(), AGES_S)), listening_s=draw(AGES_S),
                heard_s=draw(st.dictionaries(st.sampled_from(HOSTS), AGES_S)))
    return {"views": (view,), "place": draw(st.sampled_from((None, "hq", "milan")))}


def new_request(draw: st.DrawFn, found: Situation) -> dict[str, object]:
    """A person ordered anything."""
    request = draw(st.builds(
        Request, target=st.sampled_from(("Site/paris", "Host/paris-1", "VirtualMachine/sql",
                                         "Group/erp", "Site/milan", "Site/rome")),
        by=st.just("ada"), planned=st.booleans(), accepts_loss=st.booleans()))
    return {"requests": (request,)}


def new_records(draw: st.DrawFn, found: Situation) -> dict[str, object]:
    """Some nodes hold other records, or lost theirs."""
    return {"records": (*draw(records()), *found.records[draw(st.integers(0, 2)):])}


def new_lease(draw: st.DrawFn, found: Situation) -> dict[str, object]:
    """Another conducts, or this one does with another term, or it began a moment ago."""
    return {"lease": Lease(term=draw(st.integers(2, 4)), fresh=draw(st.booleans())),
            "listening_s": draw(st.one_of(st.none(), AGES_S)),
            "controller_inside": draw(st.sampled_from(("", "it is a VM of paris")))}


def new_specs(draw: st.DrawFn, found: Situation) -> dict[str, object]:
    """Some hosts and VMs leave the specs, and where a VM was is perhaps not known any more."""
    gone = set(draw(st.lists(st.sampled_from(HOSTS), min_size=1, max_size=2, unique=True)))
    left = {name: replace(one, home="" if one.home in gone and draw(st.booleans()) else one.home)
            for name, one in found.machines.items() if draw(st.integers(0, 5))}
    return {"hosts": {name: one for name, one in found.hosts.items() if name not in gone},
            "machines": left}


CHANGES: tuple[Callable[[st.DrawFn, Situation], dict[str, object]], ...] = (
    new_host, new_grant, new_machine, new_home, new_view, new_request, new_records, new_lease,
    new_specs)
STAGES = [driven(lost(hosts=more), rounds=rounds) for rounds in range(7)
          for more in ({}, {name: host(name, 60.0, bmc=OFF, guarded=False, grants=())
                            for name in PARIS})] + [lost(lease=Lease(term=3))]


def proven(here: HostSituation, held: RecordedHost, machine: MachineSituation, epoch: int,
           situation: Situation, *, ordered: bool) -> bool:
    """Whether anything at all shows that a VM does not run on a host; written anew, and lenient."""
    strong = held.proof is not None and held.proof.how != "guard"
    guard = GuardSpec()
    least_s = least_wait_s(guard, watchdog=here.watchdog)
    strong |= here.bmc is not None and here.bmc.off_reads >= 2 and not here.bmc.on and (
        not here.bmc.distrust)
    strong |= here.word is not None and here.word.boot_id == here.boot_id
    weak = (held.proof is not None and held.proof.how == "guard") or (
        bool(here.grants) and here.guarded and all(
            (one.age_s is not None and one.revoked >= epoch and one.age_s >= least_s)
            or is_off(one.grantor, situation) for one in here.grants)
        and (ordered or here.watchdog or here.bmc is not None or here.accept_freeze))
    return strong or (weak and machine.isolation == "stop")


def is_off(grantor: str, situation: Situation) -> bool:
    """Whether a grantor may count as off itself."""
    here = situation.hosts.get(grantor)
    return here is not None and (here.word is not None or (
        here.bmc is not None and here.bmc.off_reads >= 2))


def asked(check: Callable[[Situation], None], phases: Iterable[hypothesis.Phase] = tuple(
        hypothesis.Phase), examples: int = 200) -> Callable[[], None]:
    """Ask of many situations."""
    return settings(max_examples=examples, deadline=None, derandomize=True, phases=phases,
                    report_multiple_bugs=False)(given(situations())(check))


@asked
def test_no_promotion_without_a_proof_for_each_host_that_may_run_the_vm(
        situation: Situation) -> None:
    for decision in decide(situation):
        for order in decision.orders:
            if not isinstance(order, Promote):
                continue
            machine = situation.machines[order.machine]
            assert not machine.runs_on
            copies = [copy.record for copy in situation.records
                      if copy.record.scope == decision.scope
                      and copy.record.epoch == order.epoch]
            assert copies, "a promotion that nothing recorded"
            homes = {machine.home} if machine.home else {
                name for one in copies for name in one.hosts if name not in situation.hosts}
            assert homes
            for name in homes | set(machine.may_run_on):
                here = situation.hosts.get(name)
                if here is None:
                    assert any(covers(held.proof, machine) for one in copies
                               if (held := one.hosts.get(name)) is not None)
                    continue
                if here.heard and here.silent_s < situation.suspect_after_s:
                    assert name not in machine.may_run_on
                    continue
                assert any(proven(here, one.hosts.get(name, RecordedHost("")), machine,
                                  order.epoch, situation, ordered=True) for one in copies)


def test_the_situations_reach_promotions_and_a_planted_mistake_is_found(
        monkeypatch: pytest.MonkeyPatch) -> None:
    plants.no_proof_is_needed(monkeypatch)
    checked = test_no_promotion_without_a_proof_for_each_host_that_may_run_the_vm.hypothesis
    with pytest.raises(AssertionError):     # the smallest example that fails is of no interest
        asked(checked.inner_test, phases=(hypothesis.Phase.generate,), examples=2000)()


@asked
def test_without_a_lease_nothing_is_ordered(situation: Situation) -> None:
    if not situation.lease.fresh:
        assert all(not decision.orders for decision in decide(situation))


@asked
def test_nothing_is_begun_without_two_places_or_a_person(situation: Situation) -> None:
    known = {copy.record.scope for copy in situation.records}
    for decision in decide(situation):
        for order in decision.orders:
            if isinstance(order, WriteRecord) and decision.scope not in known and (
                    order.record.phase == "revoking" and not order.record.ordered):
                assert {situation.place, situation.views[0].place} > {situation.place}
                assert situation.place is not None
                assert situation.views[0].age_s is not None


@asked
def test_nothing_is_done_that_no_record_holds(situation: Situation) -> None:
    for decision in decide(situation):
        for order in decision.orders:
            if isinstance(order, Revoke | Fence | Promote | Resume):
                assert any(copy.record.scope == decision.scope
                           and copy.record.epoch == order.epoch for copy in situation.records)


@asked
def test_no_vm_resumes_and_starts_elsewhere_at_once(situation: Situation) -> None:
    orders = [order for decision in decide(situation) for order in decision.orders]
    started = [order.machine for order in orders if isinstance(order, Promote | Resume)]
    assert len(started) == len(set(started))
    revoked = {(order.grantor, host) for order in orders if isinstance(order, Revoke)
               for host in order.hosts}
    restored = {(order.grantor, host) for order in orders if isinstance(order, Restore)
                for host in order.hosts}
    assert not revoked & restored


@asked
def test_every_decision_says_why_and_is_the_same_for_the_same_situation(
        situation: Situation) -> None:
    decisions = decide(situation)
    assert decisions == decide(situation)
    for decision in decisions:
        assert decision.sentence
        assert "None" not in decision.sentence
        assert len(decision.sentence) < 800
