"""The facts of a simulated node: the world as virsh, ovs-vsctl and the facts script show it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from controller.model.facts import (
    Absent,
    BridgeFacts,
    DomainConfig,
    DomainFacts,
    DomainState,
    Fact,
    FileUse,
    Hardware,
    Known,
    NodeFacts,
    PoolFacts,
    PortFacts,
    Unknown,
    VolumeFacts,
)
from controller.model.failover.capabilities import Capabilities
from controller.model.failover.dropped import DroppedAddress
from controller.model.failover.serving import Answer, Probe, ServingFacts, Word
from controller.model.linux.links import LibvirtNetwork, LinkFacts, Links, PassingVlans
from controller.model.replica import (
    IncomingFacts,
    Leftover,
    LeftoverKind,
    PointFacts,
    ReplicaFacts,
)
from controller.plan.survey.networks.linux_bridges import ALL, NONE_PASSES
from controller.providers.linux.last_seen import (
    with_last_domains,
    with_last_pools,
    with_last_replicas,
)
from controller.providers.simulated.bmc import system_uuid
from controller.providers.simulated.gateways.vrrp import gateway_interfaces, keepalived_facts
from controller.providers.simulated.guarding.grants import grantor_facts, guard_facts, pass_grants
from controller.providers.simulated.paths import blocked_ports
from controller.providers.simulated.replicas import Point, Replica, decided
from controller.providers.simulated.world import (
    DEFAULT_VLAN,
    ROOT,
    Bridge,
    Domain,
    Node,
    Pool,
    Port,
    World,
    executes,
)

T = TypeVar("T")
GUEST_BOOT_S = 3.0
SAID = {Word.SILENT: "no answer within 1 s", Word.DENIES: "the connection is refused"}
OPERATING_SYSTEM_BYTES = 256 << 20
TOOL = "ifupdown2"
VERSIONS = {"libvirt": "9.0.0", "qemu": "7.2.0", "openvswitch": "3.1.0"}
NOT_SHOWN = "libvirt did not answer within 2 s when it was asked about it"
NO_LOOK = "its folder cannot be read: Stale file handle"
NO_LIBVIRT = "libvirtd does not answer: look at `systemctl status libvirtd` there"


def node_facts(world: World, node: Node, at: float, before: NodeFacts | None,
               probes: tuple[Probe, ...] = ()) -> NodeFacts:
    """Return a node's facts at an instant; `before` are its previous facts, `probes` what it is to
    ask of guests."""
    pass_grants(world)
    pools = _pools(world, node, at, before)
    versions = dict(VERSIONS) if node.is_host else (
        {} if node.is_witness else {"openvswitch": VERSIONS["openvswitch"]})
    return NodeFacts(
        name=node.name, boot_id=f"{node.name}-boot-{node.boot}",
        clock_offset_s=node.clock_offset_s, hardware=Known(_hardware(node), at),
        versions=versions,
        domains=_domains(world, node, at, before), pools=pools,
        bridges=Absent(at) if node.linux else Known(
            {b.name: _bridge(world, node, b) for b in node.bridges.values()}, at),
        links=Known(links_of(world, node), at) if node.linux else Absent(at),
        replicas=_replicas(node, at, before, pools),
        leftovers=Known(leftovers(world, node), at) if node.is_host else Absent(at),
        capabilities=Known(Capabilities(node.machines, ()), at) if node.is_host else Absent(at),
        interfaces=Known(gateway_interfaces(world, node), at),
        gateways=Absent(at) if node.is_host or node.is_witness else Known(
            keepalived_facts(world, node), at), records=Known(dict(node.records), at),
        product_uuid=system_uuid(node), dropped=_dropped(node, at),
        guard=Known(guard_facts(world, node), at) if node.is_host else Absent(at),
        grantor=Known(grantor_facts(world, node), at) if node.is_host or node.is_witness
        else Absent(at),
        serving=Known(serving_facts(world, node, probes, at), at) if node.is_host else Absent(at))


def serving_facts(world: World, node: Node, probes: tuple[Probe, ...],
                  at: float) -> dict[str, ServingFacts]:
    """Return what a host finds out of its guests; those that were just started are silent."""
    running = {one.uuid: one for one in node.domains.values() if executes(one)}
    for one in node.domains.values():
        one.began_at = (one.began_at or at) if one.uuid in running else None
    found = {}
    for probe in probes:
        domain = running.get(probe.uuid)
        if domain is not None and domain.began_at is not None:
            booted = at - domain.began_at >= GUEST_BOOT_S
            word = Word(world.troubles.get(domain.name, Word.ANSWERS)) if booted else Word.SILENT
            answer = Answer(word, "" if word is Word.ANSWERS else SAID[word])
            found[probe.uuid] = ServingFacts(
                agent=answer if probe.agent else None, tcp=answer if probe.tcp else None,
                ping=answer if probe.ping else None, began_at=domain.began_at + (
                    node.clock_offset_s), reads=booted if probe.reads else None)
    return found


def _dropped(node: Node, at: float) -> Fact[tuple[DroppedAddress, ...]]:
    """Return what a switch drops on our order; hosts are not asked."""
    if node.is_host or node.is_witness:
        return Absent(at)
    return Known(tuple(sorted(DroppedAddress(bridge.name, port, mac, epoch)
                              for bridge in node.bridges.values()
                              for (port, mac), epoch in bridge.drops.items())), at)


def _hardware(node: Node) -> Hardware:
    """Return size and load."""
    busy = sum(d.live.cpus for d in node.domains.values() if d.live is not None)
    free = node.memory_bytes - node.memory_used_bytes() - OPERATING_SYSTEM_BYTES
    return Hardware(node.cpus, node.memory_bytes, max(0, free), round(0.1 + 0.3 * busy, 2),
                    "x86_64")


def _domains(world: World, node: Node, at: float, before: NodeFacts | None,
             ) -> Fact[Mapping[str, DomainFacts]]:
    """Return the domains, Absent on a switch, Unknown while libvirtd is down."""
    if not node.is_host:
        return Absent(at)
    if not node.libvirt_up:
        return _lost(before.domains if before is not None else None, at)
    seen = {name: _unreadable_domain(one) if name in node.unreadable_domains
            else _domain(world, node, one) for name, one in node.domains.items()}
    return Known(with_last_domains(seen, _last(None if before is None else before.domains), {}), at)


def _pools(world: World, node: Node, at: float, before: NodeFacts | None,
           ) -> Fact[Mapping[str, PoolFacts]]:
    """Return the pools, Absent on a switch, Unknown while libvirtd is down."""
    if not node.is_host:
        return Absent(at)
    if not node.libvirt_up:
        return _lost(before.pools if before is not None else None, at)
    seen = {p.name: _pool(world, node, p) for p in node.pools.values()}
    return Known(with_last_pools(seen, _last(None if before is None else before.pools), {}), at)


def _replicas(node: Node, at: float, before: NodeFacts | None,
              pools: Fact[Mapping[str, PoolFacts]]) -> Fact[Mapping[str, ReplicaFacts]]:
    """Return the replicas that can be seen, Absent on a switch."""
    if not node.is_host:
        return Absent(at)
    found = replica_facts(node)
    if not node.unreadable_pools:
        return Known(found, at)
    dark = tuple(f"{pool.path}/" for pool in node.pools.values()
                 if pool.name in node.unreadable_pools)
    seen = {uuid: one for uuid, one in found.items() if not one.path.startswith(dark)}
    last = _last(None if before is None else before.replicas)
    return Known(with_last_replicas(seen, last, _last(pools)), at)


def _last(fact: Fact[Mapping[str, T]] | None) -> Mapping[str, T]:
    """Return a fact's last seen value."""
    value = fact.value if isinstance(fact, Known) else getattr(fact, "last", None)
    return value or {}


def _unreadable_domain(domain: Domain) -> DomainFacts:
    """Return a domain that libvirt lists and whose XML it does not return."""
    active = domain.state.active
    return DomainFacts(domain.name, domain.uuid,
                       DomainState.RUNNING if active else DomainState.SHUT_OFF, "",
                       domain.persistent, False, None, None, unknown=NOT_SHOWN)


def _lost(before: Fact[T] | None, at: float) -> Unknown[T]:
    """Return the fact while libvirtd is down: unknown, with what was last seen."""
    match before:
        case Known(value, observed_at):
            return Unknown(NO_LIBVIRT, at, value, observed_at)
        case Unknown():
            return replace(before, reason=NO_LIBVIRT)
        case _:
            return Unknown(NO_LIBVIRT, at)


def _domain(world: World, node: Node, domain: Domain) -> DomainFacts:
    """Return one domain with the sizes of its disks as the files have them."""
    return DomainFacts(
        name=domain.name, uuid=domain.uuid, state=domain.state, state_reason=domain.reason,
        persistent=domain.persistent, autostart=domain.autostart,
        live=_sized(world, node, domain.live), config=_sized(world, node, domain.config),
        job=domain.job, ownership=domain.ownership,
        checkpoints=tuple(sorted(domain.checkpoints)), files=_files(domain))


def _files(domain: Domain) -> tuple[FileUse, ...]:
    """Return the files of its disks; none if they are just those that its definitions name."""
    if not domain.reads:
        return ()
    written = {disk.source for one in (domain.live, domain.config) if one for disk in one.disks}
    return tuple(FileUse(path, path in written) for path in sorted({*written, *domain.reads}))


def _sized(world: World, node: Node, config: DomainConfig | None) -> DomainConfig | None:
    """Return `config` with each disk's size as its file has it, None where there is no file."""
    if config is None:
        return None
    disks = []
    for disk in config.disks:
        file = world.file(node, disk.source)
        disks.append(replace(disk, size_bytes=file.size_bytes if file is not None else None))
    return replace(config, disks=tuple(disks))


def _pool(world: World, node: Node, pool: Pool) -> PoolFacts:
    """Return one pool; an inactive one does not list its files."""
    here = f"{pool.path}/"
    files = {path.removeprefix(here): file for path, file in world.store_of(node, here).items()
             if path.startswith(here)}
    volumes = {name: VolumeFacts(name, file.format, file.size_bytes, file.allocated_bytes)
               for name, file in files.items()} if pool.active else {}
    if pool.name in node.unreadable_pools:
        return PoolFacts(pool.name, pool.path, pool.active, 0, 0, unknown=NO_LOOK,
                         replicas_unknown=NO_LOOK, identity=pool.filesystem)
    return PoolFacts(pool.name, pool.path, pool.active, node.disk_bytes,
                     free_bytes(world, node, pool.path), volumes, identity=pool.filesystem,
                     unmounted=pool.path if pool.filesystem == ROOT else "")


def free_bytes(world: World, node: Node, path: str) -> int:
    """Return the free space of a path's file system, rounded down to one per cent."""
    if node.full:
        return 0
    used = sum(file.allocated_bytes for file in world.store_of(node, f"{path}/").values())
    used += sum(replica.stored_bytes for replica in node.replicas.values())
    step = node.disk_bytes // 100
    return max(0, (node.disk_bytes - used) // step * step)


def _bridge(world: World, node: Node, bridge: Bridge) -> BridgeFacts:
    """Return one bridge with its ports; they have roles if RSTP runs."""
    blocked = blocked_ports(world) if bridge.rstp else frozenset()
    ports = {}
    for port in bridge.ports.values():
        up = not port.stale and world.link_up(node.name, port.name)
        role = None
        if bridge.rstp and port.mac is None:
            role = "Alternate" if (node.name, port.name) in blocked else "Designated"
            role = role if up else "Disabled"
        ports[port.name] = PortFacts(port.name, port.tag, port.trunks, port.vlan_mode, up,
                                     port.mac, role)
    return BridgeFacts(bridge.name, bridge.rstp, ports)


def replica_facts(node: Node) -> Mapping[str, ReplicaFacts]:
    """Return every replica on a host, by the VM's UUID."""
    return {uuid: _facts(replica) for uuid, replica in sorted(node.replicas.items())}


def _facts(replica: Replica) -> ReplicaFacts:
    """Return one replica as its state.json and its folder show it."""
    if replica.unreadable:
        return ReplicaFacts(replica.uuid, "", replica.path, unreadable=replica.unreadable)
    return ReplicaFacts(
        uuid=replica.uuid, machine=replica.machine, path=replica.path,
        points=tuple(map(_point, replica.points)), disks=dict(replica.sizes),
        damaged_clusters=max((one.damaged_clusters for one in replica.points), default=0),
        lost_files=tuple(sorted(replica.lost_files)),
        incoming=tuple(IncomingFacts(disk, replica.sizes.get(disk, size), size)
                       for disk, size in sorted(replica.received.items())),
        stored_bytes=replica.stored_bytes, pins=dict(replica.pins),
        scrubbed_at=replica.scrubbed_at, seeded_at=replica.seeded_at,
        compared_at=replica.compared_at, epoch=replica.epoch,
        drills=decided(replica.drills))


def _point(point: Point) -> PointFacts:
    return PointFacts(point.sequence, point.checkpoint, point.started_at, point.committed_at,
                      point.quiesced, point.stored_bytes, point.known_bad,
                      point.verified_at, diverged=point.diverged)


def leftovers(world: World, node: Node) -> tuple[Leftover, ...]:
    """Return what is ours on a host and has no owner any more."""
    traces = node.traces
    jobs = sorted(domain.uuid for domain in node.domains.values()
                  if node.libvirt_up and domain.job_is_ours
                  and domain.uuid not in traces.locked)
    used = traces.locked | {d.uuid for d in node.domains.values() if d.job_is_ours}
    found = [Leftover(LeftoverKind.JOB, uuid) for uuid in jobs]
    found += [Leftover(LeftoverKind.SCRATCH, path)
              for path, uuid in sorted(traces.scratch.items()) if uuid not in used]
    found += [Leftover(LeftoverKind.SOCKET, path) for path in sorted(traces.sockets)]
    found += [Leftover(LeftoverKind.KEY, mark) for mark, until_s in sorted(traces.keys.items())
              if world.now() >= until_s]
    found += [Leftover(LeftoverKind.PROGRAM, path) for path in sorted(traces.programs)]
    found += [Leftover(LeftoverKind.DRILL, path) for path in sorted(traces.drills)]
    return tuple(found)


def links_of(world: World, node: Node) -> Links:
    """Return a host's devices, and the VLANs of their ports."""
    links: dict[str, LinkFacts] = {}
    vlans: dict[str, PassingVlans] = {}
    for bridge in node.bridges.values():
        links[bridge.name] = LinkFacts(bridge.name, "bridge", filtering=True, pvid=DEFAULT_VLAN,
                                       tool=TOOL)
        vlans[bridge.name] = access(DEFAULT_VLAN)
        for port in bridge.ports.values():
            if not port.stale:
                links[port.name] = LinkFacts(
                    port.name, "tun" if port.mac else "", link_up=world.link_up(node.name,
                    port.name), master=bridge.name, tool="" if port.mac else TOOL,
                    kept=None if port.mac else tuple(range(2, 4095)))
                vlans[port.name] = passing_of(port)
    return Links(links, vlans, networks={"default": LibvirtNetwork("default", "virbr0", "nat",
                                                                   True)}, tools=(TOOL,))


def access(vlan: int) -> PassingVlans:
    """Return the one VLAN of an access port."""
    return PassingVlans(frozenset(), frozenset({vlan}), vlan)


def passing_of(port: Port) -> PassingVlans:
    """Return what passes on a port, in Linux's words."""
    if port.tag is not None and port.vlan_mode in {None, "access"}:
        return access(port.tag)
    tagged = frozenset(port.trunks) - {0, port.tag, *NONE_PASSES} if port.trunks else (
        ALL - {port.tag})
    untagged = frozenset() if port.tag is None else frozenset({port.tag})
    return PassingVlans(tagged, untagged, port.tag)
