"""A definition written by the hands and kept by libvirt and QEMU equals the declared one."""

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.model.facts import DomainConfig, DomainFacts, DomainState, Known, PoolFacts
from controller.model.units import SIZES, parse_size_bytes
from controller.plan.actions.action import Action
from controller.plan.actions.desired import DesiredDomain, SetMemory
from controller.plan.actions.machine import DefineDomain, ReconfigureDomain
from controller.plan.actions.storage import CreateDisk
from controller.providers.libvirt.facts import parse_config, parse_ownership
from controller.providers.libvirt.xml.domain import (
    Machine,
    default_template,
    kibibytes,
    patch_domain,
    render_domain,
)
from controller.providers.libvirt.xml.xml import parse_xml
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.reading import actions, plan_of

KIB, MIB, SECTOR = 1 << 10, 1 << 20, 512
TEMPLATE = default_template(Machine("x86_64", kvm=False))
units = st.sampled_from(sorted(SIZES))
numbers = st.one_of(st.integers(1, 4096).map(str),
                    st.decimals("0.001", "999.999", places=3).map(str))
sizes = st.tuples(numbers, units).map("".join).filter(
    lambda text: MIB < _bytes(text) < 64 << 30)
macs = st.sampled_from(["52:54:00:AB:CD:EF", "52:54:00:ab:cd:ef", "FE:00:00:00:00:01"])
models = st.sampled_from(["virtio", "e1000", "e1000e", "rtl8139"])
specs = st.fixed_dictionaries({
    "memory": sizes, "cpus": st.integers(1, 16),
    "disks": st.tuples(sizes, st.sampled_from(["qcow2", "raw"])).map(lambda disk: [
        {"name": "vda", "size": disk[0], "format": disk[1]}]),
    "nics": st.tuples(macs, models).map(lambda nic: [
        {"network": "office", "mac": nic[0], "model": nic[1]}]),
})
# everything runs at each commit: what is found once is found always
steady = settings(max_examples=150, deadline=None, derandomize=True,
                  suppress_health_check=[HealthCheck.filter_too_much])


def _bytes(text: str) -> int:
    return parse_size_bytes(text)


def up(size_bytes: int, step: int) -> int:
    """Return a size, rounded up."""
    return -(-size_bytes // step) * step


def as_kept(text: str, disks: tuple[CreateDisk, ...]) -> DomainConfig:
    """What is seen of a definition: libvirt keeps KiB, qemu-img makes whole sectors."""
    made = {one.disk.path: up(one.disk.size_bytes, SECTOR) for one in disks}
    return parse_config(parse_xml(text), made)


def as_running(config: DomainConfig, balloon_bytes: int | None = None) -> DomainConfig:
    """What is seen while it runs: QEMU has whole MiB, its balloon takes whole pages of them."""
    ceiling = up(config.memory_max_bytes, MIB)
    wanted = config.memory_bytes if balloon_bytes is None else balloon_bytes
    taken = (ceiling - wanted) // 4096 * 4096
    return replace(config, memory_max_bytes=ceiling, memory_bytes=ceiling - taken, nics=tuple(
        replace(nic, device=f"vnet{at}") for at, nic in enumerate(config.nics)))


def of_type(found: list[Action], kind: Any) -> tuple[Any, ...]:
    """The actions of one type."""
    return tuple(one for one in found if isinstance(one, kind))


def seen_with(lab: Any, wanted: DesiredDomain, config: DomainConfig, live: DomainConfig | None,
              text: str) -> Any:
    """The estate with the VM on paris-1."""
    domain = DomainFacts(
        wanted.name, wanted.uuid, DomainState.RUNNING if live else DomainState.SHUT_OFF, "booted",
        True, False, live, config, None, parse_ownership(parse_xml(text)))
    everything = b.observed_of(lab, {"paris-1": {wanted.name: domain}}, memory_bytes=256 << 30)
    return r.asked(everything, lab)


def assert_converged(lab: Any, seen: Any) -> None:
    plan = plan_of(lab, seen)
    assert plan.steps == ()
    assert [one.sentence for one in plan.remarks if "sql" in one.sentence] == []


@steady
@given(specs)
def test_what_was_made_as_declared_is_as_declared(spec: dict[str, Any]) -> None:
    lab = b.small(b.vm("sql", **spec, placement={"host": "paris-1"}))
    plan = plan_of(lab, r.asked(b.as_declared(lab, {}, memory_bytes=256 << 30), lab))
    [define] = of_type(actions(plan), DefineDomain)
    text = render_domain(define.desired, TEMPLATE)
    config = as_kept(text, of_type(actions(plan), CreateDisk))
    assert_converged(lab, seen_with(lab, define.desired, config, as_running(config), text))


@steady
@given(specs, specs)
def test_what_was_changed_as_declared_is_as_declared(
        old: dict[str, Any], new: dict[str, Any]) -> None:
    new = {**new, "disks": old["disks"], "nics": [{**old["nics"][0],
                                                   "model": new["nics"][0]["model"]}]}
    before = b.small(b.vm("sql", **old, placement={"host": "paris-1"}))
    plan = plan_of(before, r.asked(b.as_declared(before, {}, memory_bytes=256 << 30), before))
    [define] = of_type(actions(plan), DefineDomain)
    disks = of_type(actions(plan), CreateDisk)
    text = render_domain(define.desired, TEMPLATE)
    lab = b.small(b.vm("sql", **new, placement={"host": "paris-1"}))
    kept = as_kept(text, disks)
    seen = seen_with(lab, define.desired, kept, as_running(kept), text)
    changes = plan_of(lab, seen)
    patches = of_type(actions(changes), ReconfigureDomain)
    definition = patch_domain(text, tuple(one for patch in patches for one in patch.changes))
    config = as_kept(definition, disks)
    balloon = [one.memory_bytes for patch in patches if patch.live for one in patch.changes
               if isinstance(one, SetMemory)]
    live = as_running(config) if not balloon else replace(
        as_running(as_kept(text, disks), kibibytes(balloon[0]) * KIB), cpus=config.cpus,
        cpus_max=config.cpus_max, nics=as_running(config).nics)
    if not [one for one in actions(changes) if one.takes]:
        assert_converged(lab, seen_with(lab, define.desired, config, live, definition))


@given(st.sampled_from(["/srv/images", "/srv/images/", "/srv//images", "//srv/images///"]))
def test_a_pools_folder_is_the_one_that_libvirt_keeps(path: str) -> None:
    lab = b.small(b.vm("sql"))
    host = b.document("Host", "paris-1", site="paris", address="paris-1",
                      pools=[{"name": "default", "path": path}])
    lab = replace(lab, hosts={**lab.hosts, "paris-1": host})
    seen = b.as_declared(lab, {"sql": "paris-2"})
    fact = seen.nodes["paris-1"]
    assert isinstance(fact, Known)
    kept = PoolFacts("default", "/srv/images", True, 10**12, 10**12)
    seen = b.with_node(seen, "paris-1", Known(
        replace(fact.value, pools=Known({"default": kept}, b.NOW_S)), b.NOW_S))
    plan = plan_of(lab, seen)
    assert plan.steps == ()
    assert "PoolElsewhere" not in {condition.reason for condition in plan.conditions}
