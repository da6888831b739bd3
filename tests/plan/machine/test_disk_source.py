"""Disks outside our pools: taken up where they lie, and never made, moved, grown or taken away."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from controller.model.desired import Desired
from controller.model.facts import DiskFacts, Observed, PoolFacts
from controller.model.virtual_machine import DiskSpec
from controller.plan.actions.replica import CopyMode, ReplicateDomain
from controller.plan.compute import compute
from controller.plan.machine.disks import matched
from controller.plan.steps.plan import Plan
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.reading import ids, plan_of, sentences

LV = DiskFacts("vdb", "/dev/vg0/web", "raw", b.GIB, type="block")
PLACES: dict[str, DiskFacts] = {
    "block": LV,
    "file": replace(LV, type="file", source="/srv/odd/web.img"),
    "observed": replace(LV, type="network", source="pool/web", protocol="rbd"),
}


def declared(kind: str, /, **disk: Any) -> Desired:
    path = "rbd pool/web" if kind == "observed" else PLACES[kind].source
    source = {"name": "vdb", "source": {kind: path}, **disk}
    return b.small(b.vm("web", protection="gold", placement={"host": "paris-1"},
                        disks=[{"name": "vda", "size": "10GiB"}, source]))


def seen(desired: Desired, *disks: DiskFacts) -> Observed:
    config = b.config_of("web", "paris-1", desired)
    config = replace(config, disks=(config.disks[0], *disks))
    observed = r.asked(b.as_declared(desired, {"web": "paris-1"}), desired)
    return b.with_domain(observed, "paris-1", "web",
                         b.domain("web", "paris-1", desired, live=config, config=config))


def decide(desired: Desired, *disks: DiskFacts) -> Plan:
    return compute(desired, seen(desired, *disks), b.APPLIED, b.NOW_S)


def changes(plan: Plan) -> list[str]:
    return [one for one in ids(plan) if not one.startswith("replicate:")]


@pytest.mark.parametrize("kind", PLACES)
def test_a_disk_that_lies_where_it_is_declared_is_in_order(kind: str) -> None:
    desired = declared(kind)
    plan = decide(desired, PLACES[kind])
    assert changes(plan) == []
    assert "is left there" not in sentences(plan)


@pytest.mark.parametrize("kind", PLACES)
def test_one_that_is_not_plugged_in_is_neither_made_nor_plugged_in(kind: str) -> None:
    plan = decide(declared(kind))
    assert changes(plan) == []
    assert "is not plugged in: hotsite makes and plugs in no disk outside" in sentences(plan)


@pytest.mark.parametrize("kind", ["block", "file"])
def test_one_that_lies_elsewhere_is_left_there_and_told(kind: str) -> None:
    plan = decide(declared(kind), replace(PLACES[kind], source="/dev/mapper/vg0-other"))
    assert changes(plan) == []
    assert (f"lies on /dev/mapper/vg0-other and {PLACES[kind].source} is declared"
            in sentences(plan))


def test_one_that_came_back_as_a_file_stays_one_and_the_way_home_is_told() -> None:
    promoted = replace(LV, type="file", format="qcow2",
                       source="/var/lib/libvirt/images/web-vdb.fo-3.qcow2")
    plan = decide(declared("block"), promoted)
    assert changes(plan) == []
    assert ("qemu-img convert -n -f qcow2 -O raw /var/lib/libvirt/images/web-vdb.fo-3.qcow2"
            " /dev/vg0/web`") in sentences(plan)


def test_one_is_known_by_its_path_and_not_by_its_target() -> None:
    desired = declared("block")
    moved, other = replace(LV, target="vdc"), replace(LV, source="/dev/vg0/other")
    host = desired.hosts["paris-1"]
    config = replace(b.config_of("web", "paris-1", desired), disks=(other, moved))
    found, rest = matched(desired.virtual_machines["web"], config, host)
    assert found["vdb"] is moved
    assert other in (*rest, found.get("vda"))


def test_a_device_is_as_large_as_it_is_unless_a_size_is_declared() -> None:
    assert "declared" not in sentences(decide(declared("block"), replace(LV, size_bytes=7 * b.GIB)))
    told = sentences(decide(declared("block", size="1GiB"), replace(LV, size_bytes=7 * b.GIB)))
    assert "has 7GiB and 1GiB is declared: disks never shrink" in told
    told = sentences(decide(declared("block", size="9GiB"), replace(LV, size_bytes=7 * b.GIB)))
    assert "lvextend" in told


def copy_of(plan: Plan) -> dict[str, tuple[int, CopyMode]]:
    copy = next(step.action for step in plan.steps if isinstance(step.action, ReplicateDomain))
    return {one.target: (one.size_bytes, one.mode) for one in copy.disks}


def test_it_is_replicated_with_the_size_of_the_device_and_compared_from_then_on() -> None:
    desired = declared("block")
    assert copy_of(decide(desired, LV))["vdb"] == (b.GIB, CopyMode.SEED)
    replica = r.replica("web", r.series(7, 900), disks={"vda": 10 * b.GIB, "vdb": b.GIB})
    observed = r.with_replica(seen(desired, replace(LV, size_bytes=2 * b.GIB)), "milan-1", replica)
    again = copy_of(compute(desired, observed, b.APPLIED, b.NOW_S))
    assert again["vdb"] == (2 * b.GIB, CopyMode.SCAN)
    assert again["vda"][1] is CopyMode.INCREMENT


def test_a_device_that_nobody_can_read_is_unknown_and_stops_the_copy_by_name() -> None:
    plan = decide(declared("block"), replace(LV, size_bytes=None))
    assert not any(isinstance(step.action, ReplicateDomain) for step in plan.steps)
    assert "disk vdb of web (/dev/vg0/web) could not be read on paris-1" in sentences(plan)


def test_a_vm_that_is_nowhere_is_not_made_without_the_disk_that_only_somebody_else_can_make(
        ) -> None:
    desired = declared("block")
    plan = compute(desired, r.asked(b.as_declared(desired, {}), desired), b.Context(), b.NOW_S)
    assert ids(plan) == []
    assert "hotsite makes no such disk" in sentences(plan)


def test_such_a_vm_is_not_moved_by_a_copy_that_would_have_to_guess_a_place() -> None:
    desired = b.small(b.vm("web", placement={"site": "milan"}, disks=[
        {"name": "vda", "size": "10GiB"}, {"name": "vdb", "source": {"file": "/srv/odd/web.img"}}]))
    plan = compute(desired, seen(desired, PLACES["file"]), b.APPLIED, b.NOW_S)
    assert not any(one.startswith("migrate:") for one in ids(plan))
    assert "it lies in no pool, so nobody knows where it would lie on milan" in sentences(plan)


@pytest.mark.parametrize("disk", [
    {"name": "vda"}, {"name": "vda", "source": {}},
    {"name": "vda", "source": {"file": "/a", "block": "/dev/b"}},
    {"name": "vda", "source": {"block": "/dev/../etc/b"}},
    {"name": "vda", "source": {"block": "/dev/b"}, "image": "x.qcow2"}])
def test_a_disk_without_one_place_or_size_is_refused(disk: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DiskSpec.model_validate(disk)


def test_a_device_is_raw_unless_it_says_otherwise() -> None:
    def form(**more: str) -> str:
        return DiskSpec.model_validate(
            {"name": "vda", "source": {"block": "/dev/b"}, **more}).format

    assert (form(), form(format="qcow2")) == ("raw", "qcow2")


def with_pools(desired: Desired, *pools: PoolFacts) -> Observed:
    observed = b.as_declared(desired)
    fact = observed.nodes["paris-1"]
    assert isinstance(fact, b.Known)
    return b.with_node(observed, "paris-1", replace(fact, value=replace(
        fact.value, pools=b.Known({one.name: one for one in pools}, b.NOW_S))))


def test_a_pool_of_another_name_at_the_declared_folder_is_that_pool() -> None:
    desired = b.small(b.vm("web", placement={"host": "paris-1"}))
    images = PoolFacts("images", "/var/lib/libvirt/images", True, 1 << 40, 1 << 40, {})
    assert ids(plan_of(desired, with_pools(desired, images))) == []
    stopped = ids(plan_of(desired, with_pools(desired, replace(images, active=False))))
    assert stopped == ["create-pool:Host/paris-1@paris-1/images"]


def test_a_pool_that_cannot_be_read_is_unknown_by_the_declared_name_too() -> None:
    desired = b.small(b.vm("web", placement={"host": "paris-1"}))
    dim = PoolFacts("images", "/var/lib/libvirt/images", True, 0, 0, {}, unknown="it hangs")
    observed = b.with_domain(with_pools(desired, dim), "paris-1", "web", None)
    plan = plan_of(desired, observed, b.Context())
    assert not any(one.startswith("create-disk") for one in ids(plan))
    assert "could not be seen" in sentences(plan)


def test_a_pool_that_is_no_folder_is_only_observed() -> None:
    hosts = b.survey(1, pools=[{"name": "default"}, {"name": "vg0", "type": "logical"}])
    desired = b.desired_of(b.estate(), *hosts)
    default = PoolFacts("default", "/var/lib/libvirt/images", True, 1, 1, {})
    plan = plan_of(desired, with_pools(desired, default))
    assert ids(plan) == []
    assert "is declared to be of type logical and is not defined there" in sentences(plan)
    there = PoolFacts("vg0", "/dev/vg0", True, 0, 0, {}, type="logical")
    assert "vg0 of paris-1" not in sentences(plan_of(desired, with_pools(desired, default, there)))
