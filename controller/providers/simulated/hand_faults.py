"""Faults of single VMs and ports: accidents, and what people do by hand."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from controller.model.facts import DomainConfig, DomainState, NicFacts
from controller.model.units import parse_size_bytes
from controller.plan.survey.networks.linux_bridges import NONE_PASSES
from controller.providers.simulated.power import end_domain, plug_in, run_domain
from controller.providers.simulated.world import Domain, Node, Port, World


def _domain(world: World, host: str, vm: str) -> tuple[Node, Domain]:
    node = world.node(host)
    return node, node.domains[vm]


def kill(world: World, host: str, vm: str) -> str:
    """`kill HOST VM`: its QEMU process dies."""
    node, domain = _domain(world, host, vm)
    if domain.state.active:
        end_domain(node, domain, "crashed")
    world.notify(host)
    return f"the process of {vm} on {host} died"


def shutoff(world: World, host: str, vm: str) -> str:
    """`shutoff HOST VM`: somebody runs `virsh destroy`."""
    node, domain = _domain(world, host, vm)
    if domain.state.active:
        end_domain(node, domain, "destroyed")
    world.notify(host)
    return f"{vm} was shut off by hand on {host}"


def undefine(world: World, host: str, vm: str) -> str:
    """`undefine HOST VM`: somebody runs `virsh undefine`; a running one goes on, transient."""
    node, domain = _domain(world, host, vm)
    if domain.state.active:
        domain.config, domain.autostart = None, False
        domain.checkpoints.clear()
    else:
        del node.domains[vm]
    world.notify(host)
    return f"{vm} was undefined by hand on {host}"


def erase(world: World, host: str, vm: str) -> str:
    """`erase HOST VM`: `virsh destroy` and `virsh undefine`; the disks stay."""
    shutoff(world, host, vm)
    world.node(host).domains.pop(vm, None)
    return f"{vm} was destroyed and undefined by hand on {host}"


def lose(world: World, host: str, vm: str) -> str:
    """`lose HOST VM`: its host comes back empty: the definition and all files of it are gone."""
    erase(world, host, vm)
    files = world.node(host).files
    for path in [path for path in files if path.rpartition("/")[2].startswith(f"{vm}-")]:
        del files[path]
    return f"{host} has lost {vm}: its definition and its disks are gone"


def start(world: World, host: str, vm: str) -> str:
    """`start HOST VM`: somebody starts it."""
    node, domain = _domain(world, host, vm)
    if not domain.state.active and domain.config is not None:
        run_domain(node, domain, "booted")
    world.notify(host)
    return f"{vm} was started by hand on {host}"


def pause(world: World, host: str, vm: str, reason: str = "user") -> str:
    """`pause HOST VM [ioerror]`: it stands still, by hand or for want of disk space."""
    _, domain = _domain(world, host, vm)
    if domain.state is DomainState.RUNNING:
        domain.state, domain.reason = DomainState.PAUSED, reason
    world.notify(host)
    return f"{vm} on {host} is paused ({reason})"


def deaf(world: World, host: str, vm: str) -> str:
    """`deaf HOST VM`: the guest does not listen to a request to shut down."""
    _domain(world, host, vm)[1].ignores_shutdown = True
    return f"{vm} does not listen to a request to shut down"


def autostart(world: World, host: str, vm: str) -> str:
    """`autostart HOST VM`: somebody switches libvirt's autostart on."""
    _domain(world, host, vm)[1].autostart = True
    world.notify(host)
    return f"autostart of {vm} is on at {host}"


def tag(world: World, host: str, vm: str, vlan: str) -> str:
    """`tag HOST VM VLAN`: the live port of its first card is put on another VLAN."""
    node, domain = _domain(world, host, vm)
    if domain.live is None or not domain.live.nics:
        return f"{vm} has no port on {host}"
    found = node.port_of(domain.live.nics[0].mac)
    if found is not None:
        found[1].tag = int(vlan)
    world.notify(host)
    return f"the port of {vm} on {host} is on VLAN {vlan} now"


def trunk(world: World, host: str, port: str, verb: str, vlan: str = "0") -> str:
    """`trunk NODE PORT drop|add VLAN` or `trunk NODE PORT all`: a trunk is changed by hand."""
    found = next(b.ports[port] for b in world.node(host).bridges.values() if port in b.ports)
    vlans = set(found.trunks)
    match verb:
        case "drop":
            vlans -= {int(vlan)}
            found.trunks = tuple(sorted(vlans)) or (0,)
        case "add":
            found.trunks = tuple(sorted((vlans | {int(vlan)}) - {0}))
        case "all":
            found.trunks, found.vlan_mode = (), None
        case _:
            raise KeyError(verb)
    world.notify(host)
    return f"{port} of {host} lets VLANs {', '.join(map(str, found.trunks)) or 'all'} pass now"


def unplug(world: World, host: str, port: str) -> str:
    """`unplug NODE PORT`: somebody runs `ovs-vsctl del-port` on an uplink or trunk."""
    for bridge in world.node(host).bridges.values():
        bridge.ports.pop(port, None)
    world.notify(host)
    return f"{port} of {host} is in no bridge now"


def memory(world: World, host: str, vm: str, size: str) -> str:
    """`memory HOST VM SIZE`: somebody runs `virsh setmem --live --config`."""
    _, domain = _domain(world, host, vm)
    domain.live = _with_memory(domain.live, parse_size_bytes(size))
    domain.config = _with_memory(domain.config, parse_size_bytes(size))
    world.notify(host)
    return f"{vm} on {host} has {size} of memory now"


def _with_memory(config: DomainConfig | None, size_bytes: int) -> DomainConfig | None:
    if config is None:
        return None
    return replace(config, memory_bytes=min(size_bytes, config.memory_max_bytes))


def detach(world: World, host: str, vm: str) -> str:
    """`detach HOST VM`: somebody unplugs its first card, live and in its definition."""
    node, domain = _domain(world, host, vm)
    for bridge in node.bridges.values():
        macs = {nic.mac for nic in domain.live.nics[:1]} if domain.live is not None else set()
        for name in [p.name for p in bridge.ports.values() if p.mac in macs]:
            del bridge.ports[name]
    domain.live = replace(domain.live, nics=domain.live.nics[1:]) if domain.live else None
    domain.config = replace(domain.config, nics=domain.config.nics[1:]) if domain.config else None
    world.notify(host)
    return f"{vm} on {host} has lost its first card"


def hand_migrate(world: World, vm: str, to: str) -> str:
    """`hand-migrate VM HOST`: a human runs `virsh migrate --live --copy-storage-all --persistent`.

    The source stays defined there, shut off (migrated), as virsh leaves it.
    """
    source = world.node(world.copies(vm)[0])
    domain, target = source.domains[vm], world.node(to)
    assert domain.live is not None, "copies() lists active domains"
    live, before = domain.live, target.domains.get(vm)
    if target is source or (before is not None and before.state.active):
        return f"{vm} is at {to} already"
    if domain.job is not None:
        return f"{vm} on {source.name} is busy ({domain.job}) and was not migrated"
    _copy_disks(world, source, target, live)
    end_domain(source, domain, "migrated")
    target.domains[vm] = Domain(vm, domain.uuid, domain.config or live, domain.ownership,
                                DomainState.RUNNING, "migrated")
    plug_in(target, target.domains[vm], live)
    world.notify(source.name)
    world.notify(to)
    return f"{vm} was migrated by hand from {source.name} to {to}"


def _copy_disks(world: World, source: Node, target: Node, config: DomainConfig) -> None:
    for disk in config.disks:
        file = world.file(source, disk.source)
        if file is not None:
            world.store_of(target, disk.source)[disk.source] = replace(file)


def second_copy(world: World, vm: str, to: str) -> str:
    """`second-copy VM HOST`: somebody restores a copy there and starts it beside the first."""
    source = next(n for n in world.nodes.values() if vm in n.domains)
    domain, target = source.domains[vm], world.node(to)
    config = domain.config or domain.live
    assert config is not None, "a domain has one of both"
    _copy_disks(world, source, target, config)
    target.domains[vm] = Domain(vm, domain.uuid, config, domain.ownership)
    run_domain(target, target.domains[vm], "booted")
    world.notify(to)
    return f"a second copy of {vm} runs on {to}"


def alien(world: World, host: str, vm: str, vlan: str = "") -> str:
    """`alien HOST NAME [VLAN]`: somebody starts a VM that no spec knows; with a VLAN it has a card,
    and the VLAN is let pass on the host's uplinks.
    """
    node = world.node(host)
    mac = f"52:54:01:{sum(map(ord, host + vm)) % 256:02x}:{len(node.domains):02x}:01"
    bridge = next(iter(node.bridges), "br0")
    nics = (NicFacts(mac, bridge, int(vlan), None, "virtio"),) if vlan else ()
    config = DomainConfig(256 << 20, 256 << 20, 1, 1, (), nics)
    if vm in node.domains:
        return f"{host} has a {vm} already"
    for port in node.bridges[bridge].ports.values() if vlan and bridge in node.bridges else ():
        if port.mac is None and port.trunks:
            port.trunks = tuple(sorted({*port.trunks, int(vlan)} - {0}))
    node.domains[vm] = Domain(vm, str(uuid5(NAMESPACE_URL, f"by hand: {host}/{vm}")), config, None)
    run_domain(node, node.domains[vm], "booted")
    world.notify(host)
    return f"{vm}, which no spec knows, runs on {host}"


def wipe_port(world: World, host: str, vm: str) -> str:
    """`untag HOST VM`: the VLAN tag of its first card's live port is cleared."""
    node, domain = _domain(world, host, vm)
    found: tuple[object, Port] | None = None
    if domain.live is not None and domain.live.nics:
        found = node.port_of(domain.live.nics[0].mac)
    if found is not None:
        found[1].tag = None
        if node.linux:      # without a VLAN nothing passes there, not everything
            found[1].trunks, found[1].vlan_mode = NONE_PASSES, "trunk"
    world.notify(host)
    return f"the port of {vm} on {host} has no VLAN now"


BY_HAND: Final[Mapping[str, Callable[..., str]]] = {
    "kill": kill, "shutoff": shutoff, "undefine": undefine, "erase": erase, "lose": lose,
    "start": start, "pause": pause, "deaf": deaf, "autostart": autostart, "tag": tag,
    "untag": wipe_port,
    "trunk": trunk, "unplug": unplug, "memory": memory, "detach": detach, "alien": alien,
    "hand-migrate": hand_migrate, "second-copy": second_copy,
}
