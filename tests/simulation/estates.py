"""A small estate for storms, and the edits that a person may commit in the middle of one."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any

from controller.model.desired import KINDS, Desired
from controller.model.document import Document
from controller.model.host import Host
from controller.model.virtual_machine import Power, VirtualMachine

LIMITS = {"quarantineRepairs": 1000, "share": "50%", "deletes": 1, "removalGrace": "4m"}
STRICT = {"rpo": "60s", "keep": {"last": 1}, "verify": "2m"}
"""So strict that within a storm copies are due, points retire and replicas are read."""
PLAIN = {"rpo": "5m"}
NETWORKS = {"office": 200, "dmz": 30, "build": 40}


def document(kind: str, name: str, **spec: Any) -> Document:
    """One document of `kind`, as if it had been read."""
    return KINDS[kind].model_validate({"kind": kind, "metadata": {"name": name}, "spec": spec})


def vm(name: str, number: int, **spec: Any) -> Document:
    """A VM with one disk, if nothing else is said, and one card."""
    network = spec.pop("network", "office")
    nics = [{"network": network, "mac": f"52:54:00:00:00:{number:02x}"}]
    base = {"memory": "1GiB", "disks": [{"name": "vda", "size": "2GiB"}], "nics": nics,
            "autostart": "off"}
    return document("VirtualMachine", name, **(base | spec))


@cache
def storm_estate(autonomy: str = "delete", *, strict: bool = False) -> Desired:
    """Two sites of two hosts, a switch each, two members between them, six VMs.

    Shapes: `strict` protects three VMs by the minute, one with two disks, one off; else one.
    """
    others = "strict" if strict else None
    disks = [{"name": "vda", "size": "2GiB"}, {"name": "vdb", "size": "1GiB"}]
    sites = ("paris", "milan")
    hosts = {f"{site}-{n}": document("Host", f"{site}-{n}", site=site, address=f"{site}-{n}",
                                     capacity={"memory": "8GiB", "cpus": 8})
             for site in sites for n in (1, 2)}
    switches = {f"{site}-sw": document("Switch", f"{site}-sw", site=site, address=f"{site}-sw",
                                       ports=[{"name": "tr0", "link": "metro/1"},
                                              {"name": "tr1", "link": "metro/2"},
                                              {"name": "h1", "host": f"{site}-1"},
                                              {"name": "h2", "host": f"{site}-2"}])
                for site in sites}
    machines = (
        vm("sql", 1, placement={"host": "paris-1"}, startOrder=10, protection="strict",
           disks=disks if strict else disks[:1]),
        vm("web", 2, placement={"site": "paris", "antiAffinity": ["front"]}, network="dmz"),
        vm("mail", 3, placement={"site": "paris", "antiAffinity": ["front"]}),
        vm("files", 4, placement={"host": "milan-1"}, memory="2GiB", cpus=2, protection=others),
        vm("proxy", 5, placement={"site": "milan"}, network="dmz", deletion="delete"),
        vm("cold", 6, placement={"site": "milan"}, power="off", protection=others),
    )
    return Desired(
        revision="r1",
        estate=document("Estate", "storm", autonomy=autonomy, limits=LIMITS,
                        ssh={"keyFile": "/k", "knownHosts": "/h"}),
        sites={site: document("Site", site) for site in sites},
        switches=switches, hosts=hosts,
        protection_policies={"strict": document("ProtectionPolicy", "strict",
                                                **(STRICT if strict else PLAIN))},
        inter_site_links={"metro": document("InterSiteLink", "metro", between=list(sites))},
        networks={name: document("Network", name, vlan=vlan, sites=list(sites))
                  for name, vlan in NETWORKS.items()},
        virtual_machines={machine.name: machine for machine in machines})


def with_vm(desired: Desired, name: str, **changes: Any) -> Desired:
    """The same estate with fields of one VM changed."""
    machine = desired.virtual_machines[name]
    spec = machine.spec.model_copy(update=changes)
    machines = dict(desired.virtual_machines)
    machines[name] = machine.model_copy(update={"spec": spec})
    return replace(desired, virtual_machines=machines)


def with_host(desired: Desired, name: str, **changes: Any) -> Desired:
    """The same estate with fields of one host changed."""
    host: Host = desired.hosts[name]
    changed = host.model_copy(update={"spec": host.spec.model_copy(update=changes)})
    return replace(desired, hosts={**desired.hosts, name: changed})


def without_vm(desired: Desired, name: str) -> Desired:
    """The same estate without one VM."""
    kept = {n: machine for n, machine in desired.virtual_machines.items() if n != name}
    return replace(desired, virtual_machines=kept)


def _add_vm(desired: Desired, dice: Random) -> Desired:
    name = f"new-{len(desired.virtual_machines)}"
    machine = vm(name, 100 + len(desired.virtual_machines), placement={"site": "paris"})
    assert isinstance(machine, VirtualMachine)
    return replace(desired, virtual_machines={**desired.virtual_machines, name: machine})


def _move_pin(desired: Desired, dice: Random) -> Desired:
    placement = desired.virtual_machines["files"].spec.placement
    host = dice.choice(("milan-1", "paris-1", "paris-2"))
    return with_vm(desired, "files", placement=placement.model_copy(update={"host": host}))


def _resize(desired: Desired, dice: Random) -> Desired:
    return with_vm(desired, "sql", memory_bytes=dice.choice((1, 2, 3)) << 29)


def _recable(desired: Desired, dice: Random) -> Desired:
    vlan = dice.choice((50, 60, 70))
    name = f"net-{vlan}"
    new = document("Network", name, vlan=vlan, sites=dice.choice((["paris"], ["paris", "milan"])))
    return replace(desired, networks={**desired.networks, name: new})


def _change_card(desired: Desired, dice: Random) -> Desired:
    if "mail" not in desired.virtual_machines:
        return desired
    nic = desired.virtual_machines["mail"].spec.nics[0]
    network = dice.choice(sorted(NETWORKS))
    return with_vm(desired, "mail", nics=(nic.model_copy(update={"network": network}),))


def _drain(desired: Desired, dice: Random) -> Desired:
    return with_host(desired, "milan-2",
                     maintenance=not desired.hosts["milan-2"].spec.maintenance)


def _switch_on(desired: Desired, dice: Random) -> Desired:
    return with_vm(desired, "cold", power=dice.choice((Power.ON, Power.OFF)))


def _forget(desired: Desired, dice: Random) -> Desired:
    gone = dice.choice(("mail", "proxy"))
    return without_vm(desired, gone) if "mail" in desired.virtual_machines and (
        "proxy" in desired.virtual_machines) else desired


EDITS: Mapping[str, Callable[[Desired, Random], Desired]] = {
    "a new VM": _add_vm, "files is pinned elsewhere": _move_pin, "sql has another size": _resize,
    "a new VLAN": _recable, "mail is on another network": _change_card,
    "milan-2 in or out of maintenance": _drain, "cold is switched": _switch_on,
    "a VM is no longer declared": _forget,
}
