"""Actions that remove or adopt something wait for a person, who reads what would go."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import (
    DiskFacts,
    DomainConfig,
    DomainFacts,
    DomainState,
    Known,
    Observed,
    VolumeFacts,
)
from controller.plan.actions.desired import (
    AttachDisk,
    DetachDisk,
    DetachNic,
    SetMemory,
    SetOwnership,
)
from controller.plan.actions.machine import (
    PruneDomain,
    ReconfigureDomain,
    RestartDomain,
)
from controller.plan.actions.storage import CreateDisk
from controller.plan.steps.plan import Plan, Step, Verdict
from controller.plan.survey.context import Context
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.reading import ids, plan_of, sentences

GIB = b.GIB
TWO = [{"name": "vda", "size": "10GiB"}, {"name": "vdb", "size": "500GiB"}]
COMMIT = Context(applied_revision="r0", changed=frozenset({"VirtualMachine/sql"}))


def sql(**spec: Any) -> Any:
    return b.small(b.vm("sql", placement={"site": "paris"}, **spec))


def changes(plan: Plan) -> list[Any]:
    return [one for step in plan.steps for one in getattr(step.action, "changes", ())]


def only(plan: Plan) -> Step:
    (step,) = plan.steps
    return step


def with_config(seen: Observed, desired: Any, config: DomainConfig, *, live: bool = True) -> Any:
    make = b.domain if live else b.off
    more = {"live": config} if live else {}
    return b.with_domain(seen, "paris-1", "sql", make("sql", "paris-1", desired, config=config,
                                                      **more))


# --- what is pulled out of a domain


@pytest.mark.parametrize("live", [True, False], ids=["running", "off"])
@pytest.mark.parametrize(("left", "gone"), [
    ({"disks": TWO[1:]}, ["vda"]), ({"disks": []}, ["vda", "vdb"]), ({"disks": TWO[:1]}, ["vdb"])])
def test_a_disk_whose_line_is_lost_stays_until_a_person_says_yes(
        live: bool, left: dict[str, Any], gone: list[str]) -> None:
    before, now = sql(disks=TWO), sql(**left, power="on" if live else "off")
    seen = b.as_declared(before, {"sql": "paris-1"})
    seen = with_config(seen, before, b.config_of("sql", "paris-1", before), live=live)
    plan = plan_of(now, seen, COMMIT)
    step = only(plan)
    assert isinstance(step.action, PruneDomain)
    assert step.action.changes == tuple(
        DetachDisk(target, f"/var/lib/libvirt/images/sql-{target}.qcow2") for target in gone)
    assert (step.ruling.verdict, step.ruling.rule) == (Verdict.NEEDS_APPROVAL, "takes")
    for target in gone:
        assert f"disk {target}" in step.ruling.sentence
        assert f"sql-{target}.qcow2" in step.ruling.sentence
    yes = plan_of(now, seen, b.saying_yes(plan, COMMIT))
    assert only(yes).ruling.verdict is Verdict.ALLOWED


def test_a_yes_to_one_disk_is_none_to_another() -> None:
    before, three = sql(disks=TWO), [*TWO, {"name": "vdc", "size": "1GiB"}]
    seen = b.as_declared(sql(disks=three), {"sql": "paris-1"})
    yes = b.saying_yes(plan_of(before, seen, COMMIT), COMMIT)
    assert only(plan_of(sql(disks=TWO[:1]), seen, yes)).ruling.verdict is Verdict.NEEDS_APPROVAL


def test_a_yes_to_one_disk_is_none_to_the_next_that_has_its_place() -> None:
    before, now = sql(disks=TWO), sql(disks=TWO[:1])
    good = b.config_of("sql", "paris-1", before)
    seen = b.as_declared(before, {"sql": "paris-1"})
    yes = b.saying_yes(plan_of(now, with_config(seen, before, good), COMMIT), COMMIT)
    assert only(plan_of(now, with_config(seen, before, good), yes)).ruling.verdict is (
        Verdict.ALLOWED)
    other = replace(good.disks[1], source="/var/lib/libvirt/images/sql-vdc.qcow2")
    step = only(plan_of(now, with_config(seen, before, replace(
        good, disks=(good.disks[0], other))), yes))
    assert (step.ruling.verdict, step.ruling.rule) == (Verdict.NEEDS_APPROVAL, "takes")


def test_a_card_goes_only_by_a_persons_yes_and_nothing_waits_for_that() -> None:
    desired = sql()
    good = b.config_of("sql", "paris-1", desired)
    extra = replace(good.nics[0], mac="52:54:00:00:00:99")
    wrong = replace(good, nics=(replace(good.nics[0], model="e1000"), extra))
    steps = plan_of(desired, with_config(b.as_declared(desired, {"sql": "paris-1"}), desired,
                                         wrong)).steps
    verdicts = {step.action.verb: step.ruling.verdict for step in steps}
    assert verdicts == {"reconfigure": Verdict.ALLOWED, "restart": Verdict.ALLOWED,
                        "prune": Verdict.NEEDS_APPROVAL}
    (prune,) = [step.action for step in steps if isinstance(step.action, PruneDomain)]
    assert prune.changes == (DetachNic("52:54:00:00:00:99"),)
    assert all(prune.id not in step.after for step in steps)


def test_a_running_guest_is_left_its_memory_and_its_next_start_has_less() -> None:
    desired = sql(memory="2GiB")
    good = b.config_of("sql", "paris-1", desired)
    wrong = replace(good, memory_bytes=8 * GIB, memory_max_bytes=8 * GIB)
    config, live = plan_of(desired, with_config(
        b.as_declared(desired, {"sql": "paris-1"}), desired, wrong)).steps
    assert isinstance(config.action, ReconfigureDomain)
    assert not config.action.live
    assert config.ruling.verdict is Verdict.ALLOWED
    assert isinstance(live.action, PruneDomain)
    assert live.action.changes == (SetMemory(2 * GIB),)
    assert live.ruling.verdict is Verdict.NEEDS_APPROVAL
    assert "memory is 8GiB and 2GiB is declared" in live.ruling.sentence


def test_a_running_guest_is_left_its_cpus_and_no_restart_takes_them_without_a_yes() -> None:
    desired = sql(memory="2GiB", cpus=2)
    good = b.config_of("sql", "paris-1", desired)
    for changes, words in (
            ({"cpus": 4, "cpus_max": 4}, "runs with 2GiB and 4 CPUs and would lose all CPUs but 2"),
            ({"memory_bytes": 8 * GIB, "memory_max_bytes": 8 * GIB,
              "nics": (replace(good.nics[0], model="e1000"),)},
             "runs with 8GiB and 2 CPUs and would lose all memory but 2GiB by a restart")):
        plan = plan_of(desired, with_config(b.as_declared(desired, {"sql": "paris-1"}), desired,
                                            replace(good, **changes)))
        (step,) = [one for one in plan.steps if isinstance(one.action, RestartDomain)]
        assert (step.ruling.verdict, step.ruling.rule) == (Verdict.NEEDS_APPROVAL, "takes")
        assert words in step.ruling.sentence
        again = plan_of(desired, with_config(b.as_declared(desired, {"sql": "paris-1"}), desired,
                                             replace(good, **changes)), b.saying_yes(plan))
        assert Verdict.NEEDS_APPROVAL not in {one.ruling.verdict for one in again.steps}


# --- a disk is its file


def test_a_disk_that_may_only_have_been_renamed_in_the_spec_is_left_alone() -> None:
    seen = b.as_declared(sql(disks=TWO), {"sql": "paris-1"})
    plan = plan_of(sql(disks=[{"name": "sda", "size": "10GiB"}, TWO[1]]), seen, COMMIT)
    assert plan.steps == ()
    assert "it may only have been renamed" in sentences(plan)
    assert "call it vda again" in sentences(plan)


def test_a_disk_that_was_replugged_under_another_name_is_known_by_its_file() -> None:
    desired = sql()
    good = b.config_of("sql", "paris-1", desired)
    moved = replace(good, disks=(replace(good.disks[0], target="vdb"),))
    plan = plan_of(desired, with_config(b.as_declared(desired, {"sql": "paris-1"}), desired, moved))
    assert plan.steps == ()
    assert "sql's disk vda (/var/lib/libvirt/images/sql-vda.qcow2) is plugged in as vdb" in (
        sentences(plan))


def test_disks_that_changed_places_do_not_grow_into_each_other() -> None:
    desired = sql(disks=TWO)
    good = b.config_of("sql", "paris-1", desired)
    first, second = good.disks
    crossed = replace(good, disks=(replace(first, target="vdb"), replace(second, target="vda")))
    plan = plan_of(desired, with_config(b.as_declared(desired, {"sql": "paris-1"}), desired,
                                        crossed))
    assert changes(plan) == []


def test_a_disk_whose_file_is_there_is_plugged_in_and_the_other_one_asked_about() -> None:
    both = sql(disks=[TWO[0], {"name": "vdc", "size": "20GiB"}])
    seen = b.as_declared(both, {"sql": "paris-1"})
    seen = with_config(seen, both, b.config_of("sql", "paris-1", sql()))
    assert changes(plan_of(both, seen)) == [AttachDisk(plan_of(both, seen).steps[0].action
                                                       .changes[0].disk)]


def test_a_disk_of_another_vm_is_never_taken_for_one_of_ours() -> None:
    desired = sql()
    good = b.config_of("sql", "paris-1", desired)
    other = DiskFacts("vdb", "/var/lib/libvirt/images/sql-2-vda.qcow2", "qcow2", GIB)
    plan = plan_of(desired, with_config(b.as_declared(desired, {"sql": "paris-1"}), desired,
                                        replace(good, disks=(*good.disks, other))))
    assert plan.steps == ()


# --- first sight


def foreign(desired: Any, **more: Any) -> DomainFacts:
    """A running domain of the name sql that nobody marked, with other things than declared."""
    config = replace(
        b.config_of("sql", "paris-1", desired), memory_bytes=8 * GIB, memory_max_bytes=8 * GIB,
        disks=(DiskFacts("sda", "/srv/other/web.raw", "raw", 100 * GIB),),
        nics=(replace(b.config_of("sql", "paris-1", desired).nics[0], mac="52:54:00:11:11:11"),))
    return b.domain("sql", "paris-1", desired, **({
        "uuid": "11111111-foreign", "ownership": None, "live": config, "config": config} | more))


@pytest.mark.parametrize("more", [
    {}, {"config": None, "persistent": False}, {"autostart": True},
    {"state": DomainState.SHUT_OFF, "live": None}, {"state": DomainState.PAUSED}],
    ids=["running", "transient", "autostart", "off", "paused"])
@pytest.mark.parametrize("power", ["on", "off"])
@pytest.mark.parametrize("host", ["paris-1", "milan-2"], ids=["at home", "elsewhere"])
def test_a_foreign_domain_is_asked_about_once_and_nothing_is_done_to_it(
        more: dict[str, Any], power: str, host: str) -> None:
    desired = sql(power=power)
    seen = b.with_domain(b.as_declared(desired, {}), host, "sql", foreign(desired, **more))
    step = only(plan_of(desired, seen, Context()))
    assert (step.ruling.verdict, step.ruling.rule) == (Verdict.NEEDS_APPROVAL, "adopt")
    if "config" not in more:
        mark = b.domain("sql", "paris-1", desired, uuid="11111111-foreign").ownership
        assert step.action.changes == (SetOwnership(mark),)
        assert not step.action.live
        assert "card 52:54:00:11:11:11" in step.ruling.sentence
        assert "memory is 8GiB and 2GiB is declared" in step.ruling.sentence
    assert "11111111-foreign" in step.ruling.sentence


def test_what_is_as_declared_to_the_last_is_marked_without_a_question() -> None:
    desired = sql()
    seen = b.with_domain(b.as_declared(desired, {}), "paris-1", "sql",
                         b.domain("sql", "paris-1", desired, ownership=None))
    step = only(plan_of(desired, seen, Context()))
    assert step.ruling.verdict is Verdict.ALLOWED
    assert changes(plan_of(desired, seen, Context())) == [
        SetOwnership(b.domain("sql", "paris-1", desired).ownership)]


def test_after_the_yes_what_is_taken_is_asked_about_once_more() -> None:
    desired = sql()
    mark = b.domain("sql", "paris-1", desired, uuid="11111111-foreign").ownership
    ours = foreign(desired, ownership=mark)
    steps = plan_of(desired, b.with_domain(b.as_declared(desired, {}), "paris-1", "sql", ours),
                    Context()).steps
    asked = [step.action for step in steps if step.ruling.rule == "takes"]
    assert [type(one) for one in asked] == [PruneDomain]
    assert DetachNic("52:54:00:11:11:11") in asked[0].changes
    assert SetMemory(2 * GIB) in asked[0].changes


# --- what stood before


STOOD = replace(b.APPLIED, last_host={"sql": "paris-1"})


@pytest.mark.parametrize("policy", [STOOD, replace(COMMIT, last_host={"sql": ""})],
                         ids=["drift", "a commit that also changed it"])
def test_what_stood_and_is_nowhere_is_made_anew_only_by_a_persons_word(policy: Context) -> None:
    desired = sql(disks=TWO)
    seen = b.as_declared(desired, {})
    plan = plan_of(desired, seen, policy)
    assert [step.ruling.verdict for step in plan.steps][:3] == [
        Verdict.NEEDS_APPROVAL, Verdict.NEEDS_APPROVAL, Verdict.WAITING]
    assert plan.steps[0].ruling.rule == "anew"
    assert "whether the file system of pool default is mounted" in plan.steps[0].ruling.sentence
    yes = plan_of(desired, seen, b.saying_yes(plan, policy))
    assert [step.ruling.verdict for step in yes.steps] == [Verdict.ALLOWED] * 4


def test_what_never_stood_is_made_without_a_question() -> None:
    desired = sql(disks=TWO)
    plan = plan_of(desired, b.as_declared(desired, {}),
                   replace(COMMIT, last_host={"web": "paris-1"}))
    assert {step.ruling.verdict for step in plan.steps} == {Verdict.ALLOWED}


def with_file(seen: Observed, desired: Any, allocated_bytes: int) -> Observed:
    """The first disk of sql lies in the pool of paris-1, and so much was written to it."""
    full = b.as_declared(desired, {"sql": "paris-1"}).nodes["paris-1"]
    assert isinstance(full, Known)
    assert isinstance(full.value.pools, Known)
    pools = {name: replace(pool, volumes={
        "sql-vda.qcow2": replace(pool.volumes["sql-vda.qcow2"], allocated_bytes=allocated_bytes)})
        for name, pool in full.value.pools.value.items()}
    fact = seen.nodes["paris-1"]
    assert isinstance(fact, Known)
    return b.with_node(seen, "paris-1", replace(fact, value=replace(
        fact.value, pools=Known(pools, b.NOW_S))))


@pytest.mark.parametrize(("written", "verdict"), [
    (100 << 20, Verdict.NEEDS_APPROVAL), (200 << 10, Verdict.ALLOWED)])
def test_a_disk_that_was_written_says_that_its_neighbour_is_lost_and_not_new(
        written: int, verdict: Verdict) -> None:
    desired = sql(disks=TWO)
    seen = with_file(b.as_declared(desired, {}), desired, written)
    plan = plan_of(desired, seen, Context())
    assert ids(plan)[0] == "create-disk:VirtualMachine/sql@paris-1/vdb"
    assert plan.steps[0].ruling.verdict is verdict


@pytest.mark.parametrize(("host", "left"), [
    ("milan-2", "sql-vda.qcow2.moved"),
    ("milan-2", "sql-vda.qcow2.hotsite-removed-19700101T000000Z")])
def test_what_it_left_elsewhere_says_that_a_vm_is_no_new_one(host: str, left: str) -> None:
    desired = b.small(b.vm("sql", placement={"host": "paris-1"}),
                      limits={"purgeAfter": "1000d"})
    seen = b.as_declared(desired, {})
    fact = seen.nodes[host]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.pools, Known)
    pools = {name: replace(pool, volumes={left: VolumeFacts(left, "qcow2", GIB, GIB)})
             for name, pool in fact.value.pools.value.items()}
    seen = b.with_node(seen, host, replace(fact, value=replace(
        fact.value, pools=Known(pools, b.NOW_S))))
    made = [step for step in plan_of(desired, seen, Context()).steps
            if isinstance(step.action, CreateDisk)]
    assert all(step.ruling.rule == "anew" for step in made)
    assert all(left in step.ruling.sentence for step in made)


def test_a_vm_is_not_copied_before_it_is_ours() -> None:
    desired = b.small(b.vm("sql", protection="gold", placement={"site": "paris"}))
    seen = r.asked(b.with_domain(b.as_declared(desired, {}), "paris-1", "sql", foreign(desired)),
                   desired)
    assert only(plan_of(desired, seen, Context())).ruling.rule == "adopt"


def test_a_disk_that_a_running_vm_has_lost_is_not_made_anew_by_itself() -> None:
    desired = sql(disks=TWO)
    good = b.config_of("sql", "paris-1", desired)
    seen = b.as_declared(sql(), {"sql": "paris-1"})
    seen = with_config(seen, desired, replace(good, disks=good.disks[:1]))
    for policy, verdict in ((b.APPLIED, Verdict.NEEDS_APPROVAL), (COMMIT, Verdict.ALLOWED)):
        step = plan_of(desired, seen, policy).steps[0]
        assert isinstance(step.action, CreateDisk)
        assert step.ruling.verdict is verdict
