"""A model of the world: what each action changes in the facts. It ignores reasons, as hosts do."""

from dataclasses import replace

from controller.model.desired import Desired
from controller.model.facts import (
    BridgeFacts,
    DiskFacts,
    DomainConfig,
    DomainFacts,
    DomainState,
    Known,
    NicFacts,
    NodeFacts,
    Observed,
    PoolFacts,
    PortFacts,
    VolumeFacts,
)
from controller.model.replica import PointFacts, ReplicaFacts
from controller.plan.actions import desired as w
from controller.plan.actions import replica as ra
from controller.plan.actions.action import (
    Action,
)
from controller.plan.actions.machine import (
    DefineDomain,
    DisableAutostart,
    MigrateDomain,
    PruneDomain,
    ReconfigureDomain,
    RemoveDomain,
    RestartDomain,
    ResumeDomain,
    ShutDownDomain,
    StartDomain,
    UndefineDomain,
)
from controller.plan.actions.network import (
    AddUplink,
    CreateBridge,
    NarrowTrunk,
    SetPortVlan,
    WidenTrunk,
)
from controller.plan.actions.storage import (
    CreateDisk,
    CreatePool,
)
from tests.plan import builders as b


def carried_out(action: Action, seen: Observed, desired: Desired) -> Observed:
    """The world after `action`."""
    node = part(seen, action.node)
    if isinstance(action, CreateBridge):
        return b.with_node(seen, action.node, remade(node, bridges={
            action.bridge: BridgeFacts(action.bridge, action.rstp, {})}))
    if isinstance(action, AddUplink | WidenTrunk | NarrowTrunk):
        passing = w.PortVlans(action.vlans or (0,), None, "trunk") if isinstance(
            action, AddUplink) else action.will_be
        port = PortFacts(action.port, passing.tag, passing.vlans, passing.vlan_mode, True)
        return b.with_port(seen, action.node, port, action.port, action.bridge)
    if isinstance(action, SetPortVlan):
        return b.with_port(seen, action.node, PortFacts(
            action.port, action.vlan, (), None, True, action.mac), action.port, action.bridge)
    if isinstance(action, CreatePool):
        pool = PoolFacts(action.pool, action.path, True, 1 << 40, 1 << 39)
        return b.with_node(seen, action.node, remade(node, pools={action.pool: pool}))
    if isinstance(action, CreateDisk):
        return with_file(seen, action.node, action.disk)
    if isinstance(action, MigrateDomain):
        return migrated(action, seen, desired)
    if isinstance(action, ra.ReplicateDomain):
        return replicated(action, seen)
    if isinstance(action, ra.RetirePoints | ra.DropPoints | ra.VerifyReplica | ra.RemoveReplica):
        return with_replica_changed(action, seen)
    if isinstance(action, ra.SweepLeftovers):
        return b.with_node(seen, action.node, Known(
            replace(node, leftovers=Known((), b.NOW_S)), b.NOW_S))
    return with_domain_changed(action, seen)


def replicated(action: ra.ReplicateDomain, seen: Observed) -> Observed:
    """The replica with one more point, in which nothing is wrong any more."""
    target = part(seen, action.to)
    assert isinstance(target.replicas, Known)
    before = target.replicas.value.get(action.uuid) or ReplicaFacts(
        action.uuid, action.domain, action.path)
    assert before.newest is None or before.newest.sequence < action.sequence
    assert before.path == action.path
    checkpoint = f"hotsite-{action.sequence:06d}"
    point = PointFacts(action.sequence, checkpoint, b.NOW_S, b.NOW_S + 4, action.quiesce, 1 << 20)
    after = replace(before, points=(*before.points, point), damaged_clusters=0, lost_files=(),
                    incoming=(), disks={one.target: one.size_bytes for one in action.disks})
    seen = b.with_node(seen, action.to, Known(replace(target, replicas=Known(
        {**target.replicas.value, action.uuid: after}, b.NOW_S)), b.NOW_S))
    node = part(seen, action.node)
    assert isinstance(node.domains, Known)
    return b.with_domain(seen, action.node, action.domain, replace(
        node.domains.value[action.domain], checkpoints=(checkpoint,)))


def with_replica_changed(action: Action, seen: Observed) -> Observed:
    """The world after an action on a replica that is there."""
    node = part(seen, action.node)
    assert isinstance(node.replicas, Known)
    found = dict(node.replicas.value)
    path = getattr(action, "path", "")
    (uuid,) = [one for one, replica in found.items() if replica.path == path]
    if isinstance(action, ra.RemoveReplica):
        assert uuid == action.uuid
        del found[uuid]
    elif isinstance(action, ra.VerifyReplica):
        found[uuid] = replace(found[uuid], scrubbed_at=b.NOW_S)
    elif isinstance(action, ra.RetirePoints | ra.DropPoints):
        found[uuid] = replace(found[uuid], points=tuple(
            point for point in found[uuid].points if point.sequence not in action.sequences))
    return b.with_node(seen, action.node, Known(
        replace(node, replicas=Known(found, b.NOW_S)), b.NOW_S))


def part(seen: Observed, name: str) -> NodeFacts:
    """The facts of a node that answers."""
    fact = seen.nodes[name]
    assert isinstance(fact, Known)
    return fact.value


def remade(node: NodeFacts, **parts: object) -> Known[NodeFacts]:
    """The node with entries added to some of its mappings."""
    found = {}
    for name, more in parts.items():
        fact = getattr(node, name)
        found[name] = Known({**fact.value, **more}, b.NOW_S)
    return Known(replace(node, **found), b.NOW_S)


def with_file(seen: Observed, host: str, disk: w.DesiredDisk) -> Observed:
    """The world with one more file in a pool."""
    node = part(seen, host)
    assert isinstance(node.pools, Known)
    pool = node.pools.value[disk.pool]
    name = disk.path.rpartition("/")[2]
    assert name not in pool.volumes, f"{name} exists already"
    volumes = {**pool.volumes, name: VolumeFacts(name, disk.format, disk.size_bytes, 0)}
    return b.with_node(seen, host, remade(node, pools={disk.pool: replace(pool, volumes=volumes)}))


def config_from(wanted: w.DesiredDomain) -> DomainConfig:
    """The XML that a definition gives."""
    return DomainConfig(
        wanted.memory_bytes, wanted.memory_bytes, wanted.cpus, wanted.cpus,
        tuple(DiskFacts(one.target, one.path, one.format, one.size_bytes) for one in wanted.disks),
        tuple(card(one) for one in wanted.nics))


def card(nic: w.DesiredNic) -> NicFacts:
    """A card as it is seen."""
    return NicFacts(nic.mac, nic.bridge, nic.vlan, None, nic.model)


def booted(domain: DomainFacts) -> DomainFacts:
    """The domain running from its definition."""
    return replace(domain, state=DomainState.RUNNING, state_reason="booted", live=domain.config)


def migrated(action: MigrateDomain, seen: Observed, desired: Desired) -> Observed:
    """The domain running at its destination and gone from its source."""
    node = part(seen, action.node)
    assert isinstance(node.domains, Known)
    domain = node.domains.value[action.domain]
    assert domain.state is DomainState.RUNNING
    bridge = desired.hosts[action.to].spec.bridge
    def moved(config: DomainConfig | None) -> DomainConfig | None:
        return None if config is None else replace(
            config, nics=tuple(replace(nic, bridge=bridge) for nic in config.nics))
    seen = b.with_domain(seen, action.node, action.domain, None)
    return b.with_domain(seen, action.to, action.domain, replace(
        domain, live=moved(domain.live), config=moved(domain.config), checkpoints=()))


def with_domain_changed(action: Action, seen: Observed) -> Observed:
    """The world after an action on one domain."""
    node = part(seen, action.node)
    assert isinstance(node.domains, Known)
    name = action.target.partition("/")[2]
    found = node.domains.value.get(name)
    if isinstance(action, DefineDomain):
        config = config_from(action.desired)
        new = DomainFacts(name, action.desired.uuid, DomainState.SHUT_OFF, "unknown", True, False,
                          None, config, None, action.desired.ownership)
        if found is not None:
            new = replace(found, config=config, persistent=True, ownership=action.desired.ownership)
        return b.with_domain(seen, action.node, name, new)
    assert found is not None, f"{action.id}: no such domain"
    if isinstance(action, StartDomain | RestartDomain):
        return b.with_domain(seen, action.node, name, booted(found))
    if isinstance(action, ResumeDomain):
        return b.with_domain(seen, action.node, name, replace(found, state=DomainState.RUNNING))
    if isinstance(action, ra.DropCheckpoints):
        return b.with_domain(seen, action.node, name, replace(found, checkpoints=()))
    if isinstance(action, ShutDownDomain):
        return b.with_domain(seen, action.node, name, replace(
            found, state=DomainState.SHUT_OFF, state_reason="shutdown", live=None))
    if isinstance(action, DisableAutostart):
        return b.with_domain(seen, action.node, name, replace(found, autostart=False))
    if isinstance(action, UndefineDomain | RemoveDomain):
        return b.with_domain(seen, action.node, name, None)
    assert isinstance(action, ReconfigureDomain | PruneDomain)
    for change in action.changes:
        found = patched(found, change, live=action.live)
    return b.with_domain(seen, action.node, name, found)


def patched(domain: DomainFacts, change: w.DomainChange, *, live: bool) -> DomainFacts:
    """The domain after one patch, in its definition and, when `live`, in the running guest."""
    if isinstance(change, w.SetOwnership):
        return replace(domain, ownership=change.ownership)
    if domain.config is not None:
        domain = replace(domain, config=xml_patched(domain.config, change))
    if live and domain.live is not None:
        domain = replace(domain, live=xml_patched(domain.live, change))
    return domain


def xml_patched(xml: DomainConfig, change: w.DomainChange) -> DomainConfig:
    """One XML after one patch; patches are idempotent."""
    if isinstance(change, w.SetMemory):
        return replace(xml, memory_bytes=change.memory_bytes,
                       memory_max_bytes=max(xml.memory_max_bytes, change.memory_bytes))
    if isinstance(change, w.SetCpus):
        return replace(xml, cpus=change.cpus, cpus_max=max(xml.cpus_max, change.cpus))
    if isinstance(change, w.DetachNic):
        return replace(xml, nics=tuple(one for one in xml.nics if one.mac != change.mac))
    if isinstance(change, w.AttachNic | w.UpdateNic):
        others = tuple(one for one in xml.nics if one.mac != change.nic.mac)
        return replace(xml, nics=(*others, card(change.nic)))
    if isinstance(change, w.DetachDisk):
        return replace(xml, disks=tuple(d for d in xml.disks if d.target != change.target))
    if isinstance(change, w.AttachDisk):
        disk = change.disk
        others_d = tuple(one for one in xml.disks if one.target != disk.target)
        return replace(xml, disks=(*others_d, DiskFacts(
            disk.target, disk.path, disk.format, disk.size_bytes)))
    assert isinstance(change, w.GrowDisk)
    return replace(xml, disks=tuple(
        replace(one, size_bytes=change.size_bytes) if one.target == change.target else one
        for one in xml.disks))
