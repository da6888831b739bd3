"""What every guard and every grantor is told, worked out from the specs.

A host asks every witness and every host of the other sites. Not the hosts of its own site, which
are cut off together with it; nor whatever else it may reach, since only who is asked to refuse can
be relied on. Every guard knows all VMs that may be ended, wherever they run now: what it was told
stays right while the controller is gone and a VM moves.

An address that is a name would have to be looked up just when nothing answers: such a node neither
grants nor is granted, and the condition Guarded says so.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from ipaddress import ip_address

from controller.model.desired import Desired
from controller.model.failover.guard import GrantorAddress, GrantorOrders, GuardOrders
from controller.plan.survey.spec_index import Specs

DIGEST_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class AllOrders:
    """The orders of all nodes; empty where the specs declare no key."""

    guards: dict[str, GuardOrders]
    """By host."""
    grantors: dict[str, GrantorOrders]
    """By witness or host."""
    unnumbered: dict[str, str]
    """By node: its address that is a name."""


NONE = AllOrders({}, {}, {})


def orders_of(desired: Desired) -> AllOrders:
    """Return what every guard and grantor is told; only that of the last specs is cached."""
    if desired.estate.spec.failover.guard.key_file is None:
        return NONE
    return _orders_of(Specs(desired))


@lru_cache(1)
def _orders_of(specs: Specs) -> AllOrders:
    desired = specs.desired
    spec = desired.estate.spec.failover.guard
    addresses = {name: witness.spec.address for name, witness in desired.witnesses.items()}
    addresses |= {name: host.spec.address for name, host in desired.hosts.items()}
    unnumbered = {name: address for name, address in addresses.items() if not is_number(address)}
    sites = {name: host.spec.site for name, host in desired.hosts.items()}
    guarded = sorted(sites.keys() - unnumbered.keys())
    grantors = {name: GrantorAddress(name, address, spec.port)
                for name, address in sorted(addresses.items()) if name not in unnumbered}
    names = victims_of(desired)
    of_names = sha256("\n".join(names).encode()).hexdigest()
    key_file = str(spec.key_file)
    return AllOrders(
        {host: _guard(desired, host, tuple(
            one for name, one in grantors.items() if sites.get(name) != sites[host]),
            names, of_names) for host in guarded},
        {name: grantor_orders(one, [host for host in guarded if sites[host] != sites.get(name)],
                              key_file) for name, one in grantors.items()},
        unnumbered)


def _guard(desired: Desired, host: str, grantors: tuple[GrantorAddress, ...],
           names: tuple[str, ...], of_names: str) -> GuardOrders:
    spec = desired.estate.spec.failover.guard
    watchdog = desired.hosts[host].spec.watchdog
    numbers = (spec.deadline_s, spec.kill_s, spec.feed_s, spec.watchdog_s)
    asked = [(one.name, one.address, one.port) for one in grantors]
    return GuardOrders(digest_of(host, asked, of_names, numbers, watchdog), host, grantors, names,
                       *numbers, watchdog, str(spec.key_file))


def grantor_orders(at: GrantorAddress, hosts: Iterable[str], key_file: str) -> GrantorOrders:
    """Return what a grantor is told."""
    names = tuple(sorted(hosts))
    return GrantorOrders(digest_of(at.name, at.address, at.port, names), at.name, at.address,
                         at.port, names, key_file)


def digest_of(*told: object) -> str:
    """Return the digest by which orders are known where they are followed."""
    text = json.dumps(told, sort_keys=True)
    return sha256(text.encode()).hexdigest()[:DIGEST_CHARACTERS]


def victims_of(desired: Desired) -> tuple[str, ...]:
    """Return every name that a VM with `isolation: stop` may have in libvirt, sorted."""
    policies = desired.protection_policies
    ended = {name for name, vm in desired.virtual_machines.items()
             if vm.spec.protection is not None
             and policies[vm.spec.protection].spec.isolation == "stop"}
    formers = {former for name in ended for former in desired.virtual_machines[name].spec.formerly
               if former not in desired.virtual_machines}
    return tuple(sorted(ended | formers))


def is_number(address: str) -> bool:
    """Return whether an address need not be looked up."""
    try:
        ip_address(address)
    except ValueError:
        return False
    return True
