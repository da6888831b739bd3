"""The spec index: whatever follows from the specs alone, worked out once for each set of specs.

A loop decides many times on one revision; the specs of thousands of VMs stay the same meanwhile.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from controller.model.desired import Desired
from controller.model.protection_policy import HealthSpec
from controller.model.virtual_machine import VirtualMachine
from controller.plan.packing.problem import PlaceMachine
from controller.plan.survey.grants import (
    Grants,
    Managing,
    every_scope,
    find_grants,
    find_managing,
)
from controller.plan.survey.identity import DeclaredIdentity, Names
from controller.plan.survey.networks.attachment import isolated_from
from controller.plan.survey.renamed import renames
from controller.plan.survey.vlans import untagged_links, untagged_sites

Made = TypeVar("Made")


class Card(NamedTuple):
    """A declared network card."""

    vm: str
    mac: str
    network: str
    vlan: int | None


@dataclass(frozen=True, slots=True)
class SpecIndex:
    """What every decision on one set of specs looks up."""

    machines: tuple[str, ...]
    """The names of all VMs, sorted."""
    protected: tuple[str, ...]
    """Those with a protection policy."""
    unprotected: tuple[str, ...]
    """Those without one."""
    vlan_of: Mapping[str, int | None]
    """By network; None for an untagged one."""
    card_of: Mapping[str, Card]
    """By MAC; without those that are kept as they are."""
    to_place: Mapping[str, PlaceMachine]
    """Each VM as placement sees it while it runs and can be moved."""
    declared: DeclaredIdentity
    """What identity needs of the specs."""
    renames: Mapping[str, str]
    """`Kind/now` by `Kind/former`."""
    links_between: Mapping[frozenset[str], tuple[str, ...]]
    """By the two sites: the names of the links between them, sorted."""
    grants: Grants
    """How far the specs let healing go, and what they pause."""
    managing: Managing
    """What is only observed."""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By group of VMs that fail over to one instant: its VMs, sorted."""
    group_of: Mapping[str, str] = field(default_factory=dict)
    """By VM that is in one."""
    untagged: frozenset[str] = frozenset()
    """Sites, and links, that carry networks without a tag."""
    healths: Mapping[str, HealthSpec] = field(default_factory=dict)
    """By VM: what proves that it serves, where more is declared than that it runs."""
    alone: frozenset[str] = frozenset()
    """Networks that one host alone has."""
    _cache: dict[tuple[object, str], tuple[object, Any]] = field(default_factory=dict)

    @property
    def names(self) -> Names:
        """Return the present and former names of the estate and its VMs."""
        return self.declared.names

    def cached(self, make: Callable[..., Made], target: str, *about: object) -> Made:
        """Return `make(target, *about)`, cached per target while the arguments stay equal.

        Shapes: `make` is pure. One result per function and target is kept, which bounds memory.
        """
        kept = self._cache.get((make, target))
        if kept is None or kept[0] != about:
            kept = self._cache[make, target] = (about, make(target, *about))
        made: Made = kept[1]
        return made


class Specs:
    """Specs as a cache key: compared by object, since comparing content would take too long."""

    __slots__ = ("desired",)

    def __init__(self, desired: Desired) -> None:
        self.desired = desired

    def __hash__(self) -> int:
        return id(self.desired)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Specs) and other.desired is self.desired


def index_specs(desired: Desired) -> SpecIndex:
    """Return the index of the specs; only that of the last specs is cached."""
    return _index_specs(Specs(desired))


@lru_cache(1)
def _index_specs(specs: Specs) -> SpecIndex:
    desired = specs.desired
    machines = desired.virtual_machines
    names = tuple(sorted(machines))
    vlan_of = {name: network.spec.vlan for name, network in desired.networks.items()}
    group_of = {name: group for name in names
                if (group := machines[name].spec.group) is not None}
    sites_of = {name: frozenset(network.spec.sites) for name, network in desired.networks.items()}
    return SpecIndex(
        names, tuple(name for name in names if machines[name].spec.protection is not None),
        tuple(name for name in names if machines[name].spec.protection is None), vlan_of,
        {nic.mac: Card(name, nic.mac, nic.on, vlan_of[nic.on])
         for name, vm in machines.items() for nic in vm.spec.nics if not nic.kept},
        {name: machine_to_place(vm, sites_of, len(desired.sites)) for name, vm in machines.items()},
        DeclaredIdentity(names_of(desired),
              {nic.mac: name for name, vm in machines.items() for nic in vm.spec.nics},
              frozenset(vlan_of.values()), dict(isolated_from(desired)),
              {name: {f"{pool.path.rstrip('/')}/": pool.name for pool in host.spec.folders
                      if pool.shared} for name, host in desired.hosts.items()
               if any(pool.shared for pool in host.spec.folders)}),
        renames(desired), links_between(desired), find_grants(desired),
        find_managing(desired, every_scope(desired)),
        {group: tuple(name for name in names if group_of.get(name) == group)
         for group in sorted(set(group_of.values()))}, group_of,
        untagged_sites(desired) | untagged_links(desired),
        healths_of(desired), alone(desired))


def healths_of(desired: Desired) -> dict[str, HealthSpec]:
    """Return by VM what proves that it serves, where more is declared than that it runs."""
    policies = {name: one.spec.health for name, one in desired.protection_policies.items()
                if one.spec.health.asks}
    if not policies:
        return {}
    return {name: policies[vm.spec.protection] for name, vm in desired.virtual_machines.items()
            if vm.spec.protection in policies}


def alone(desired: Desired) -> frozenset[str]:
    """Return the networks that one host alone has."""
    hosts = Counter(host.spec.site for host in desired.hosts.values())
    return frozenset(name for name, network in desired.networks.items()
                     if sum(hosts[site] for site in network.spec.sites) < 2)


def links_between(desired: Desired) -> dict[frozenset[str], tuple[str, ...]]:
    """Return, by the two sites, the names of the links between them, sorted."""
    found: dict[frozenset[str], tuple[str, ...]] = {}
    for name in sorted(desired.inter_site_links):
        ends = frozenset(desired.inter_site_links[name].spec.between)
        found[ends] = (*found.get(ends, ()), name)
    return found


def names_of(desired: Desired) -> Names:
    """Return the present and former names of the estate and its VMs."""
    machines = desired.virtual_machines
    formers = {name: vm.spec.formerly for name, vm in machines.items() if vm.spec.formerly}
    domains = {name: vm.spec.domain for name, vm in machines.items() if vm.spec.domain is not None}
    uuids = {name: vm.spec.uuid for name, vm in machines.items() if vm.spec.uuid is not None}
    return Names(frozenset({desired.estate.name, *desired.estate.spec.formerly}),
                 {former: name for name, them in formers.items() for former in them
                  if former not in machines}, formers, domains, uuids,
                 {domain: name for name, domain in domains.items()},
                 {uuid: name for name, uuid in uuids.items()})


def machine_to_place(vm: VirtualMachine, sites_of: Mapping[str, frozenset[str]],
                     sites: int) -> PlaceMachine:
    """Return a VM as placement sees it while it runs and can be moved."""
    spec, where = vm.spec, vm.spec.placement
    narrow = [sites_of[name] for name in (nic.network for nic in spec.nics)
              if name is not None and len(sites_of[name]) < sites]
    reached = tuple(sorted(frozenset.intersection(*narrow))) if narrow else ()
    return PlaceMachine(
        vm.metadata.name, spec.memory_bytes, spec.cpus,
        reached if where.site is None else (where.site,), where.host, where.anti_affinity,
        spec.pools)
