"""`domain:` and `uuid:`: libvirt's own names, whatever they are, and never another machine."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.desired import Desired
from controller.model.facts import DomainFacts, Observed
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.reading import actions, ids, plan_of, sentences

UUID = "4b5e1c0e-0f5e-4f0a-9a1e-6f1d2c3b4a59"
OTHER = "9c1d7a52-3a0b-4a53-8b0e-0d6c5b4a3f21"
NAMES = ("WIN_2019", "old server", "-x", "a'b\"c", "caf\u00e9 \u65e5\u672c", "x" * 200, "Sql", "12",
         "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "web")


def lab_with(**spec: Any) -> Desired:
    return b.small(b.vm("sql", **spec), b.vm("other"))


def seen_in(desired: Desired, **changes: Any) -> tuple[Observed, DomainFacts]:
    facts = b.domain("sql", "paris-1", desired, **changes)
    return b.with_domain(b.as_declared(desired, {"other": "milan-1"}), "paris-1", facts.name,
                         facts), facts


@pytest.mark.parametrize("called", NAMES)
def test_a_domain_of_any_name_is_the_vm_that_declares_it(called: str) -> None:
    desired = lab_with(domain=called, uuid=UUID)
    seen, facts = seen_in(desired)
    assert plan_of(desired, seen).steps == ()
    off = b.with_domain(seen, "paris-1", called, b.off("sql", "paris-1", desired))
    (start,) = actions(plan_of(desired, off))
    assert (start.id, start.domain, start.uuid) == (
        "start:VirtualMachine/sql@paris-1", called, UUID)
    unmarked = b.with_domain(seen, "paris-1", called, replace(facts, ownership=None))
    (mark,) = actions(plan_of(desired, unmarked))
    assert mark.changes[0].ownership.domain == called
    assert mark.domain == called


@pytest.mark.parametrize("called", NAMES)
def test_a_new_vm_is_defined_under_its_libvirt_name(called: str) -> None:
    desired = lab_with(domain=called, uuid=UUID, placement={"host": "paris-1"})
    plan = plan_of(desired, b.as_declared(desired, {"other": "milan-1"}))
    disk, define, start = actions(plan)
    assert disk.disk.path == "/var/lib/libvirt/images/sql-vda.qcow2"
    assert (define.desired.name, define.desired.uuid) == (called, UUID)
    assert (start.domain, start.uuid) == (called, UUID)


def test_a_name_with_another_uuid_is_neither_touched_nor_doubled() -> None:
    desired = lab_with(uuid=UUID, domain="WEB", nics=[])
    for mark in (None, b.domain("sql", "paris-1", desired, uuid=OTHER).ownership):
        seen, _ = seen_in(desired, uuid=OTHER, ownership=mark)
        plan = plan_of(desired, seen)
        assert plan.steps == ()
        assert f"paris-1 has a domain WEB with uuid {OTHER}" in sentences(plan)
        gone = plan_of(desired, b.silenced(seen, "paris-1"))
        assert gone.steps == ()


def test_the_uuid_finds_a_domain_that_somebody_renamed() -> None:
    desired = lab_with(uuid=UUID, domain="WEB")
    seen, facts = seen_in(desired, ownership=None)
    seen = b.with_domain(b.with_domain(seen, "paris-1", "WEB", None), "paris-1", "WEB (old)",
                         replace(facts, name="WEB (old)"))
    plan = plan_of(desired, seen)
    assert plan.steps == ()
    assert "virsh domrename 'WEB (old)' WEB" in sentences(plan)


def test_a_domain_with_the_specs_name_is_not_the_vm_that_libvirt_calls_otherwise() -> None:
    desired = lab_with(domain="SQL")
    seen, _ = seen_in(desired)
    another = replace(b.off("other", "paris-2", desired), name="sql", uuid=OTHER, ownership=None,
                      config=replace(b.config_of("other", "paris-2", desired), nics=(), disks=()))
    assert plan_of(desired, b.with_domain(seen, "paris-2", "sql", another)).steps == ()


def test_two_vms_may_have_each_others_names_in_libvirt() -> None:
    desired = b.small(b.vm("sql", domain="web"), b.vm("web", domain="sql"))
    seen = b.as_declared(desired, {"sql": "paris-1", "web": "milan-1"})
    assert plan_of(desired, seen).steps == ()
    bare = seen
    for vm, host in (("sql", "paris-1"), ("web", "milan-1")):
        facts = b.domain(vm, host, desired, ownership=None)
        bare = b.with_domain(bare, host, facts.name, facts)
    assert {(one.target, one.domain) for one in actions(plan_of(desired, bare))} == {
        ("VirtualMachine/sql", "web"), ("VirtualMachine/web", "sql")}


def test_the_uuid_binds_the_replica() -> None:
    desired = b.small(b.vm("sql", domain="SQL", uuid=UUID, protection="gold"))
    seen = r.asked(b.as_declared(desired, {"sql": "paris-1"}), desired)
    (copy,) = actions(plan_of(desired, seen))
    assert (copy.uuid, copy.domain) == (UUID, "SQL")
    assert UUID in copy.path
    seen = r.asked(b.as_declared(desired, {}), desired)
    seen = r.with_replica(seen, "milan-1", replace(
        r.replica("elsewhere", r.series(3, 60)), uuid=UUID))
    plan = plan_of(desired, seen)
    assert ids(plan) == []
    assert "milan-1 has restore point 3" in sentences(plan)


def test_a_former_name_still_finds_the_domain() -> None:
    desired = b.small(b.vm("sql-prod", formerly="sql", domain="sql", nics=[]))
    old = b.small(b.vm("sql", nics=[]))
    seen = b.as_declared(old, {"sql": "paris-1"})
    (mark,) = actions(plan_of(desired, seen))
    assert (mark.verb, mark.domain) == ("reconfigure", "sql")


def test_another_name_in_the_spec_renames_no_domain() -> None:
    desired, old = lab_with(domain="SQL-NEW"), lab_with(domain="old sql")
    seen, _ = seen_in(old)
    plan = plan_of(desired, seen)
    assert plan.steps == ()
    assert "calls sql old sql, and `domain: SQL-NEW` is declared" in sentences(plan)
    assert "virsh domrename 'old sql' SQL-NEW" in sentences(plan)
