"""Objects that left the specs wait for a grace period, and are then set aside."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import FileUse, Known, Observed, VolumeFacts
from controller.plan.actions.machine import DefineDomain, StartDomain
from controller.plan.actions.storage import CreateDisk, PurgeFiles, ReturnDisk
from controller.plan.machine.removal import aside_suffix, parse_aside
from controller.plan.steps.plan import Verdict
from controller.plan.survey.context import Context
from tests.plan import builders as b
from tests.plan.reading import actions, plan_of, sentences

NEW = b.small(limits={"deletes": 1})
OLD = b.small(b.vm("sql", deletion="delete"))
REMOVE = "remove:VirtualMachine/sql@paris-1"
DAY_S = 86400.0


def since(age_s: float) -> Context:
    return replace(b.APPLIED, waiting={REMOVE: b.NOW_S - age_s})


@pytest.mark.parametrize(("policy", "verdict", "due_s"), [
    (b.APPLIED, Verdict.WAITING, 600), (since(599), Verdict.WAITING, 1),
    (since(600), Verdict.ALLOWED, None), (since(-9999), Verdict.WAITING, 600)],
    ids=["first seen", "not yet", "long enough", "a clock that went back"])
def test_a_removal_waits_and_says_until_when(policy: Context, verdict: Verdict,
                                             due_s: float | None) -> None:
    plan = plan_of(NEW, b.as_declared(OLD, {"sql": "paris-1"}), policy)
    (step,) = plan.steps
    assert step.ruling.verdict is verdict
    assert plan.due_at == (None if due_s is None else b.NOW_S + due_s)
    if due_s is not None:
        assert step.ruling.rule == "grace"
        assert "hotsite approve remove:VirtualMachine/sql@paris-1" in step.ruling.clears


def test_the_name_of_what_is_set_aside_says_when_it_was() -> None:
    suffix = aside_suffix(b.NOW_S)
    assert suffix == ".hotsite-removed-19700112T134640Z"
    assert parse_aside(f"sql-vda.qcow2{suffix}") == ("sql-vda.qcow2", b.NOW_S)
    action = actions(plan_of(NEW, b.as_declared(OLD, {"sql": "paris-1"}), since(600)))[0]
    assert action.suffix == aside_suffix(b.NOW_S - 600)


@pytest.mark.parametrize("name", [
    "sql.removed-19700112T134640Z", "sql.hotsite-removed-", "sql.hotsite-removed-now",
    ".hotsite-removed-19700112T134640Z", "sql.hotsite-removed-19700112T134640Z.bak"])
def test_no_other_name_is_taken_for_one(name: str) -> None:
    assert parse_aside(name) is None


def with_file(seen: Observed, host: str, name: str) -> Observed:
    fact = seen.nodes[host]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.pools, Known)
    pools = {key: replace(pool, volumes={**pool.volumes, name: VolumeFacts(
        name, "qcow2", 10 * b.GIB, 0)}) for key, pool in fact.value.pools.value.items()}
    return b.with_node(seen, host, replace(fact, value=replace(
        fact.value, pools=Known(pools, b.NOW_S))))


def aside(age_s: float, name: str = "sql-vda.qcow2") -> str:
    return name + aside_suffix(b.NOW_S - age_s)


def test_what_was_set_aside_long_ago_is_deleted_and_the_rest_is_told_of() -> None:
    lab = NEW
    seen = with_file(with_file(b.as_declared(lab), "paris-1", aside(8 * DAY_S)), "milan-1",
                     aside(6 * DAY_S, "web-vda.qcow2"))
    plan = plan_of(lab, seen)
    (step,) = plan.steps
    assert isinstance(step.action, PurgeFiles)
    assert step.action.paths == (f"/var/lib/libvirt/images/{aside(8 * DAY_S)}",)
    assert step.ruling.verdict is Verdict.ALLOWED
    assert "web-vda.qcow2.hotsite-removed-" in sentences(plan)
    assert "to keep it, give it another name" in sentences(plan)
    assert plan.due_at == b.NOW_S + DAY_S
    (asked,) = plan_of(b.small(autonomy="prune", limits={"deletes": 1}), seen).steps
    assert asked.ruling.verdict is Verdict.NEEDS_APPROVAL


def test_what_a_domain_uses_is_never_purged() -> None:
    lab = b.small(b.vm("sql"))
    config = b.config_of("sql", "paris-1", lab)
    path = f"/var/lib/libvirt/images/{aside(8 * DAY_S)}"
    wide = replace(config, disks=(replace(config.disks[0], source=path),))
    other = replace(b.domain("sql", "paris-1", lab, ownership=None, live=wide, config=wide),
                    name="other", uuid="other")
    seen = b.with_domain(b.as_declared(lab, {"sql": "paris-1"}), "paris-1", "other", other)
    plan = plan_of(lab, with_file(seen, "paris-1", aside(8 * DAY_S)))
    assert not [one for one in actions(plan) if isinstance(one, PurgeFiles)]
    assert "other on paris-1 has it as a disk" in sentences(plan)


@pytest.mark.parametrize(("files", "ceiling", "allowed"), [
    (("sql-vda.qcow2", "sql-vdb.qcow2"), 1, True), (("sql-vda.qcow2", "web-vda.qcow2"), 1, False),
    (("sql-vda.qcow2", "odd.img"), 2, True), (("a.img", "b.img"), 1, False),
    (("sql-vda.qcow2",), 0, False)])
def test_what_goes_for_good_is_below_the_ceiling(files: tuple[str, ...], ceiling: int,
                                                 allowed: bool) -> None:
    """A `purgeAfter` that a commit lowers would else let all that was ever removed go at once."""
    lab = b.small(limits={"deletes": ceiling, "purgeAfter": "1m"})
    seen = b.as_declared(lab)
    for host, name in zip(("paris-1", "paris-1"), files, strict=False):
        seen = with_file(seen, host, aside(DAY_S, name))
    (step,) = plan_of(lab, seen).steps
    assert isinstance(step.action, PurgeFiles)
    if allowed:
        assert step.ruling.verdict is Verdict.ALLOWED
    else:
        assert step.ruling.rule == "delete-ceiling"
        assert f"the ceiling is {ceiling}: none is deleted" in step.ruling.sentence


def user(use: FileUse, *below: FileUse) -> Any:
    lab = b.small(b.vm("sql"))
    config = b.config_of("sql", "paris-1", lab)
    config = replace(config, disks=(replace(config.disks[0], source=use.path),), nics=())
    return b.domain("sql", "paris-1", lab, ownership=None, live=config, config=config,
                    files=(use, *below), uuid="other")


def used_in_other_ways(path: str) -> list[Any]:
    over = FileUse("/data/over.qcow2", written=True, identity="1:99")
    return [replace(user(FileUse("/data/link.qcow2", written=True, identity="1:77")), name="erp"),
            replace(user(over, FileUse(path, written=False, identity="1:77")), name="erp"),
            replace(user(over, FileUse("/bound/base", written=False, identity="1:77")), name="erp")]


@pytest.mark.parametrize("way", range(3), ids=["a link", "a base", "a base, by another path"])
def test_a_file_is_in_use_by_whatever_path_and_however_deep(way: int) -> None:
    path = "/var/lib/libvirt/images/sql-vda.qcow2"
    sql = b.domain("sql", "paris-1", OLD, files=(FileUse(path, written=True, identity="1:77"),))
    seen = b.with_domain(b.as_declared(OLD, {}), "paris-1", "sql", sql)
    (before,) = plan_of(NEW, seen, since(600)).steps
    assert before.action.disk_paths == (path,)
    erp = used_in_other_ways(path)[way]
    (step,) = plan_of(NEW, b.with_domain(seen, "paris-1", "erp", erp), since(600)).steps
    assert step.action.disk_paths == ()

    name = aside(8 * DAY_S)
    fact = with_file(b.as_declared(NEW), "paris-1", name).nodes["paris-1"]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.pools, Known)
    pool = fact.value.pools.value["default"]
    volumes = {name: replace(pool.volumes[name], identity="1:77")}
    fact = replace(fact, value=replace(fact.value, pools=Known(
        {"default": replace(pool, volumes=volumes)}, b.NOW_S)))
    erp = used_in_other_ways(f"/var/lib/libvirt/images/{name}")[way]
    plan = plan_of(NEW, b.with_domain(b.with_node(b.as_declared(NEW), "paris-1", fact),
                                      "paris-1", "erp", erp))
    assert not [one for one in actions(plan) if isinstance(one, PurgeFiles)]
    assert "erp on paris-1 has it as a disk, or below one" in sentences(plan)


def test_a_shared_file_is_in_use_wherever_a_host_has_its_pool() -> None:
    """Two hosts may mount what they share in different folders."""
    def lab(*vms: Any) -> Any:
        hosts = [b.document("Host", f"paris-{one}", site="paris", address=f"p{one}", pools=[
            {"name": "default", "path": f"/mnt/{one}", "shared": True}]) for one in (1, 2)]
        return b.desired_of(b.estate(limits={"deletes": 1}), *hosts, *vms, *(
            one for one in b.survey() if one.name not in {"paris-1", "paris-2"}))

    was, now = lab(b.vm("sql", deletion="delete")), lab()
    config = b.config_of("sql", "paris-1", was)
    mine = replace(config, disks=(replace(config.disks[0], source="/mnt/1/sql-vda.qcow2"),))
    theirs = replace(mine, disks=(replace(mine.disks[0], source="/mnt/2/sql-vda.qcow2"),), nics=())
    sql = b.domain("sql", "paris-1", was, live=mine, config=mine)
    erp = replace(sql, name="erp", uuid="other", ownership=None, live=theirs, config=theirs)
    seen = b.observed_of(now, {"paris-1": {"sql": sql}})
    (alone,) = plan_of(now, seen, since(600)).steps
    assert alone.action.disk_paths == ("/mnt/1/sql-vda.qcow2",)
    (step,) = plan_of(now, b.with_domain(seen, "paris-2", "erp", erp), since(600)).steps
    assert step.action.disk_paths == ()


@pytest.mark.parametrize("host", ["paris-1", "milan-2"])
def test_a_vm_that_comes_back_gets_its_disks_back_where_they_lie(host: str) -> None:
    lab = b.small(b.vm("sql", placement={"site": "paris"}))
    seen = with_file(with_file(b.as_declared(lab, {}), host, aside(DAY_S)), host, aside(3 * DAY_S))
    found: Any = [one for one in actions(plan_of(lab, seen, replace(
        b.APPLIED, last_host={"sql": host}))) if one.target == "VirtualMachine/sql"]
    assert [type(one) for one in found][:3] == [ReturnDisk, DefineDomain, StartDomain]
    assert {one.node for one in found[:3]} == {host}
    assert found[0].suffix == aside_suffix(b.NOW_S - DAY_S)


def test_a_disk_that_has_its_own_name_goes_before_one_that_was_set_aside() -> None:
    lab = b.small(b.vm("sql"))
    seen = with_file(with_file(b.as_declared(lab, {}), "milan-1", aside(DAY_S)), "paris-1",
                     "sql-vda.qcow2")
    found = actions(plan_of(lab, seen))
    assert [type(one) for one in found] == [DefineDomain, StartDomain]
    assert {one.node for one in found} == {"paris-1"}


def test_a_disk_that_was_not_set_aside_with_the_others_is_asked_about() -> None:
    lab = b.small(b.vm("sql", disks=[{"name": "vda", "size": "10GiB"},
                                     {"name": "vdb", "size": "1GiB"}]))
    plan = plan_of(lab, with_file(b.as_declared(lab, {}), "paris-1", aside(DAY_S)),
                   replace(b.APPLIED, last_host={"sql": "paris-1"}))
    verdicts = {type(step.action): step.ruling.rule for step in plan.steps}
    assert verdicts[CreateDisk] == "anew"
    assert verdicts[ReturnDisk] == ""
