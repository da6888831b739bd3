"""Estates for tests: any size, observed as declared, and functions that make them differ."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from controller.model.desired import KINDS, Desired
from controller.model.document import Document
from controller.model.facts import (
    Absent,
    BridgeFacts,
    DiskFacts,
    DomainConfig,
    DomainFacts,
    DomainState,
    Fact,
    Hardware,
    Known,
    NicFacts,
    NodeFacts,
    Observed,
    Ownership,
    PoolFacts,
    PortFacts,
    Unknown,
    VolumeFacts,
)
from controller.model.virtual_machine import NicSpec
from controller.plan.gates.approval import content
from controller.plan.steps.plan import Plan, Verdict
from controller.plan.survey.context import Approval, Context
from controller.plan.survey.identity import domain_uuid
from controller.plan.survey.networks.attachment import attachment_of

NOW_S = 1_000_000.0
GIB = 1 << 30
SITES = ("paris", "milan")
APPLIED = Context(applied_revision="r1")
"""Everything was converged before: whatever differs is drift."""

FIELDS = {
    "Site": "sites", "Switch": "switches", "InterSiteLink": "inter_site_links", "Host": "hosts",
    "Network": "networks", "VirtualMachine": "virtual_machines",
    "ProtectionPolicy": "protection_policies", "Witness": "witnesses",
}


def document(kind: str, name: str, **spec: Any) -> Document:
    """One document of `kind`, as if it had been read."""
    return KINDS[kind].model_validate(
        {"kind": kind, "metadata": {"name": name}, "spec": spec})


def desired_of(*documents: Document, revision: str = "r1") -> Desired:
    """The desired state that these documents declare."""
    found: dict[str, Any] = {field: {} for field in FIELDS.values()}
    for one in documents:
        kind = type(one).__name__
        if kind == "Estate":
            found["estate"] = one
        else:
            found[FIELDS[kind]][one.name] = one
    return Desired(revision=revision, **found)


def vm(name: str, **spec: Any) -> Document:
    """A VM of 2 GiB with one disk on network `office`, unless `spec` says otherwise."""
    digits = abs(hash_of(name))
    mac = "52:54:" + ":".join(f"{digits >> shift & 255:02x}" for shift in (24, 16, 8, 0))
    return document("VirtualMachine", name, **({
        "memory": "2GiB", "disks": [{"name": "vda", "size": "10GiB"}],
        "nics": [{"network": "office", "mac": mac}]} | spec))


def hash_of(name: str) -> int:
    """A number that is the same in every run."""
    number = 5381
    for letter in name:
        number = (number * 33 + ord(letter)) & 0xFFFFFFFF
    return number


def estate(**spec: Any) -> Document:
    """The Estate, which lets the loop do everything unless `spec` says otherwise."""
    return document("Estate", "lab", **({
        "autonomy": "delete", "ssh": {"keyFile": "/k", "knownHosts": "/h"},
        "limits": {"perHost": 1000, "perSite": 100000, "share": "100%"}} | spec))


def survey(hosts_per_site: int = 2, **host_spec: Any) -> list[Document]:
    """Two sites with a switch and hosts each, a link of two members, and two networks."""
    found = [document("Site", "paris", twin="milan"), document("Site", "milan", twin="paris"),
             document("InterSiteLink", "metro", between=["paris", "milan"], members=2),
             document("Network", "office", vlan=100, sites=["paris", "milan"]),
             document("Network", "storage", vlan=200, sites=["paris", "milan"]),
             document("ProtectionPolicy", "gold", rpo="5m")]
    for site in SITES:
        names = [f"{site}-{number}" for number in range(1, hosts_per_site + 1)]
        found.append(document(
            "Switch", f"{site}-sw", site=site, address=f"{site}-sw",
            ports=[{"name": "tr0", "link": "metro/1"}, {"name": "tr1", "link": "metro/2"},
                   *({"name": f"h{i}", "host": name} for i, name in enumerate(names))]))
        found += [document("Host", name, site=site, address=name, **host_spec) for name in names]
    return found


def small(*more: Document, hosts_per_site: int = 2, **estate_spec: Any) -> Desired:
    """The lab's shape with the VMs and other documents that a test needs."""
    return desired_of(estate(**estate_spec), *survey(hosts_per_site), *more)


def large(machines: int, hosts: int) -> Desired:
    """An estate of any size, evenly filled."""
    per_site = hosts // 2
    vms = [vm(f"vm-{number:05d}", memory="4GiB", cpus=1, protection="gold",
              placement={"site": SITES[number % 2]})
           for number in range(machines)]
    return desired_of(estate(), *survey(per_site), *vms)


def spread(desired: Desired) -> dict[str, str]:
    """Every VM on a host that suits it, in turn."""
    found = {}
    turns: dict[str | None, int] = {}
    for name in sorted(desired.virtual_machines):
        where = desired.virtual_machines[name].spec.placement
        hosts = sorted(host for host, one in desired.hosts.items()
                       if where.site in {None, one.spec.site})
        turn = turns[where.site] = turns.get(where.site, -1) + 1
        found[name] = where.host or hosts[turn % len(hosts)]
    return found


def config_of(name: str, host: str, desired: Desired) -> DomainConfig:
    """The domain XML of a VM that is as declared."""
    spec = desired.virtual_machines[name].spec
    return DomainConfig(
        spec.memory_bytes, spec.memory_bytes, spec.cpus, spec.cpus,
        tuple(DiskFacts(disk.name, f"/var/lib/libvirt/images/{name}-{disk.name}.{disk.format}",
                        disk.format, disk.size_bytes) for disk in spec.disks),
        tuple(card_of(nic, f"vnet-{name}"[:15], host, desired) for nic in spec.nics))


def card_of(nic: NicSpec, port: str, host: str, desired: Desired) -> NicFacts:
    """A card where its host has its network; a kept one is plugged straight into a device."""
    spec = desired.hosts[host].spec
    if nic.kept:
        return NicFacts(nic.mac, "", None, port, nic.model, "direct")
    place = attachment_of(nic.on, desired.networks[nic.on].spec.vlan, spec)
    if place.libvirt_network:
        return NicFacts(nic.mac, "virbr0", None, port, nic.model, "network",
                        network=place.libvirt_network)
    ours = spec.driver == "openvswitch"
    return NicFacts(nic.mac, place.bridge, place.vlan if ours else None, port, nic.model)


def domain(name: str, host: str, desired: Desired, **changes: Any) -> DomainFacts:
    """A running domain that is as declared, unless `changes` says otherwise."""
    config = config_of(name, host, desired)
    vm = desired.virtual_machines[name]
    deletion, called = vm.spec.deletion.value, vm.libvirt_name
    uuid = changes.get("uuid") or vm.spec.uuid or domain_uuid("lab", name)
    found = DomainFacts(called, uuid, DomainState.RUNNING, "booted", True, False, config, config,
                        None, Ownership("lab", deletion, name, uuid=uuid, domain=called))
    return replace(found, **changes)


def off(name: str, host: str, desired: Desired, reason: str = "shutdown",
        **changes: Any) -> DomainFacts:
    """A domain that is off."""
    return domain(name, host, desired, state=DomainState.SHUT_OFF, state_reason=reason, live=None,
                  **changes)


def bridge_of(name: str, desired: Desired, domains: Mapping[str, DomainFacts]) -> BridgeFacts:
    """The bridge of a node as declared, with a port for each card of running domains."""
    ports: dict[str, PortFacts] = {}
    vlans = {site: tuple(sorted(net.spec.vlan for net in desired.networks.values()
                                if net.spec.vlan and site in net.spec.sites))
             for site in desired.sites}
    if name in desired.hosts:
        spec = desired.hosts[name].spec
        for uplink in spec.uplinks:
            ports[uplink] = PortFacts(uplink, None, vlans[spec.site] or (0,), "trunk", True)
        for one in domains.values():
            for nic in one.live.nics if one.live is not None else ():
                port = nic.device or nic.mac
                ports[port] = PortFacts(port, nic.vlan, (), None, True, nic.mac)
        return BridgeFacts(spec.bridge, False, ports)
    switch = desired.switches[name].spec
    for link in switch.ports:
        if link.host is not None:
            passing = vlans[desired.hosts[link.host].spec.site]
        else:
            between = desired.inter_site_links[(link.link or "").partition("/")[0]].spec.between
            passing = tuple(sorted(set(vlans[between[0]]) & set(vlans[between[1]])))
        ports[link.name] = PortFacts(link.name, None, passing or (0,), "trunk", True)
    return BridgeFacts(switch.bridge, True, ports)


def node(name: str, desired: Desired, domains: Mapping[str, DomainFacts] | None = None,
         observed_at: float = NOW_S, memory_bytes: int = 128 * GIB,
         cpus: int = 64) -> Known[NodeFacts]:
    """A node that answered, with these domains and everything else as declared."""
    here = domains or {}
    bridge = bridge_of(name, desired, here)
    is_host = name in desired.hosts
    taken = sum(one.live.memory_bytes for one in here.values() if one.live is not None)
    volumes = {disk.source.rpartition("/")[2]: VolumeFacts(
        disk.source.rpartition("/")[2], disk.format, disk.size_bytes, 0)
        for one in here.values() if one.config is not None for disk in one.config.disks}
    pools = {pool.name: PoolFacts(pool.name, pool.path, True, 1000 * GIB, 500 * GIB, volumes)
             for pool in (desired.hosts[name].spec.pools if is_host else ())}
    return Known(NodeFacts(
        name, f"boot-{name}", 0.0,
        Known(Hardware(cpus, memory_bytes, memory_bytes - taken, 0.1, "x86_64"), observed_at),
        {"libvirt": "9.0.0"},
        Known(here, observed_at) if is_host else Absent(observed_at),
        Known(pools, observed_at) if is_host else Absent(observed_at),
        Known({bridge.name: bridge}, observed_at),
        interfaces=Known({}, observed_at)), observed_at)


def observed_of(desired: Desired, domains: Mapping[str, Mapping[str, DomainFacts]],
                **node_spec: Any) -> Observed:
    """Every node answering, with these domains by host."""
    return Observed({name: node(name, desired, domains.get(name), **node_spec)
                     for name in [*desired.hosts, *desired.switches]})


def as_declared(desired: Desired, where: Mapping[str, str] | None = None,
                **node_spec: Any) -> Observed:
    """What is seen when everything is as declared."""
    domains: dict[str, dict[str, DomainFacts]] = {name: {} for name in desired.hosts}
    for name, host in (spread(desired) if where is None else where).items():
        spec = desired.virtual_machines[name].spec
        make = domain if spec.power == "on" else off
        facts = make(name, host, desired)
        domains[host][facts.name] = facts
    return observed_of(desired, domains, **node_spec)


def with_node(observed: Observed, name: str, fact: Fact[NodeFacts]) -> Observed:
    """The same, but one node."""
    return Observed({**observed.nodes, name: fact})


def silenced(observed: Observed, name: str, since_s: float = 190.0) -> Observed:
    """The same, but one node does not answer any more."""
    fact = observed.nodes[name]
    assert isinstance(fact, Known)
    return with_node(observed, name, Unknown(
        "connection timed out", NOW_S - since_s, fact.value, NOW_S - since_s))


def never_seen(observed: Observed, name: str) -> Observed:
    """The same, but one node has never answered."""
    return with_node(observed, name, Unknown("connection refused", NOW_S - 10))


def with_domain(observed: Observed, host: str, name: str, facts: DomainFacts | None) -> Observed:
    """The same, but one domain on one host; None: it is not there."""
    fact = observed.nodes[host]
    assert isinstance(fact, Known)
    inner = fact.value.domains
    assert isinstance(inner, Known)
    domains = {key: value for key, value in inner.value.items() if key != name}
    if facts is not None:
        domains[name] = facts
    return with_node(observed, host, Known(
        replace(fact.value, domains=Known(domains, inner.observed_at)), fact.observed_at))


def with_port(observed: Observed, name: str, port: PortFacts | None, where: str,
              bridge: str = "br0") -> Observed:
    """The same, but port `where` of a node's bridge; None: it is not plugged in."""
    fact = observed.nodes[name]
    assert isinstance(fact, Known)
    inner = fact.value.bridges
    assert isinstance(inner, Known)
    ports = {key: value for key, value in inner.value[bridge].ports.items() if key != where}
    if port is not None:
        ports[port.name] = port
    bridges = {**inner.value, bridge: replace(inner.value[bridge], ports=ports)}
    return with_node(observed, name, Known(
        replace(fact.value, bridges=Known(bridges, inner.observed_at)), fact.observed_at))


def saying_yes(plan: Plan, policy: Context = APPLIED) -> Context:
    """The context in which a person has said yes to all that a plan asks."""
    return replace(policy, approvals=tuple(
        Approval(step.action.id, plan.revision, "ann", NOW_S + 3600, content(step.action))
        for step in plan.steps if step.ruling.verdict is Verdict.NEEDS_APPROVAL))
