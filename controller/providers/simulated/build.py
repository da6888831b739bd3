"""Builds a simulated world from specs: bare hosts with cables and images, or converged."""

from uuid import NAMESPACE_URL, uuid5

from controller.model.desired import Desired
from controller.model.facts import DiskFacts, DomainConfig, NicFacts, Ownership
from controller.model.host import Host, HostSpec
from controller.model.virtual_machine import DiskSpec, NicSpec, Power, VirtualMachine
from controller.plan.guarding.orders import orders_of
from controller.plan.survey.networks.attachment import (
    LINUXBRIDGE,
    OPENVSWITCH,
    attachment_of,
    bridges_of,
)
from controller.providers.simulated.guarding.state import GrantorState, GuardState
from controller.providers.simulated.power import run_domain
from controller.providers.simulated.protected import protect
from controller.providers.simulated.world import (
    DEFAULT_VLAN,
    GIB,
    MACHINE,
    Bridge,
    Domain,
    File,
    Node,
    Pool,
    Port,
    Wire,
    World,
)


def add_nodes(world: World, desired: Desired) -> None:
    """Add every declared node that the world does not have yet, bare, and all its cables."""
    rename_nodes(world, desired)
    for name in sorted(desired.hosts):
        host = desired.hosts[name]
        if name not in world.nodes:
            world.nodes[name] = bare_host(host)
        for pool in host.spec.folders:
            for vm in desired.virtual_machines.values():
                for disk in vm.spec.disks:
                    if disk.image is not None and disk.pool == pool.name:
                        path = f"{pool.path}/{disk.image}"
                        image = File(disk.format, min(disk.size_bytes, GIB), GIB // 2, disk.image)
                        world.store_of(world.nodes[name], path).setdefault(path, image)
    for name in sorted(desired.switches):
        switch = desired.switches[name]
        interfaces = tuple(port.name for port in switch.spec.ports)
        known = world.nodes.setdefault(name, Node(name, switch.spec.site, False, interfaces))
        known.interfaces = interfaces
    for name, witness in sorted(desired.witnesses.items()):
        world.nodes.setdefault(name, Node(name, witness.spec.place, False, (), is_witness=True))
    world.wires = {wire.member: wire for wire in _wires(desired)}


def rename_nodes(world: World, desired: Desired) -> None:
    """Rename the machines whose declared names changed, and update their sites."""
    for name, declared in desired.sites.items():
        if not world.sites_cut.isdisjoint(declared.spec.formerly):
            world.sites_cut = world.sites_cut - set(declared.spec.formerly) | {name}
    sites = {
        **{name: (host.spec.formerly, host.spec.site) for name, host in desired.hosts.items()},
        **{name: (switch.spec.formerly, switch.spec.site)
           for name, switch in desired.switches.items()},
        **{name: (witness.spec.formerly, witness.spec.place)
           for name, witness in desired.witnesses.items()}}
    for name, (formers, site) in sites.items():
        for former in formers:
            if former in world.nodes and name not in world.nodes:
                world.nodes[name] = world.nodes.pop(former)
                world.nodes[name].name = name
                world.ways_cut = {frozenset(name if end == former else end for end in way)
                                  for way in world.ways_cut}
        if name in world.nodes:
            world.nodes[name].site = site


def bare_host(host: Host) -> Node:
    """Return a host as it comes out of the installer: no bridge, no pool, no domain."""
    node = Node(host.name, host.spec.site, True, tuple(host.spec.uplinks))
    node.linux = host.spec.driver == LINUXBRIDGE
    if node.linux:      # whoever installed it made its bridges, too: nobody else does
        node.bridges = linux_bridges(host, ())
    capacity = host.spec.capacity
    if capacity is not None:
        node.memory_bytes, node.cpus = capacity.memory_bytes, capacity.cpus
    node.shared_paths = {pool.path: pool.name for pool in host.spec.folders if pool.shared}
    return node


def _wires(desired: Desired) -> list[Wire]:
    """Return every cable: each uplink to its switch port, each member between its switches."""
    wires, members = [], dict[str, tuple[str, str]]()
    for switch in sorted(desired.switches.values(), key=lambda s: s.name):
        plugged = dict[str, int]()
        for port in switch.spec.ports:
            end = (switch.name, port.name)
            if port.link is not None:
                if port.link in members:
                    wires.append(Wire(port.link, members[port.link], end, True))
                members[port.link] = end
            elif port.host is not None and port.host in desired.hosts:
                uplinks = desired.hosts[port.host].spec.uplinks
                uplink = uplinks[plugged.get(port.host, 0) % len(uplinks)]
                plugged[port.host] = plugged.get(port.host, 0) + 1
                wires.append(Wire(f"{port.host}/{uplink}", (port.host, uplink), end, False))
    return wires


def converge(world: World, desired: Desired) -> None:
    """Make the world as declared, at once and without a controller."""
    for switch in desired.switches.values():
        bridge = Bridge(switch.spec.bridge, rstp=True)
        world.nodes[switch.name].bridges = {bridge.name: bridge}
        for port in switch.spec.ports:
            if port.link is not None:
                vlans = stretched_vlans(desired, port.link.split("/")[0])
            else:
                vlans = site_vlans(desired, switch.spec.site)
            bridge.ports[port.name] = trunk_port(port.name, vlans)
    for host in desired.hosts.values():
        node = world.nodes[host.name]
        vlans = site_vlans(desired, host.spec.site)
        ports = {name: trunk_port(name, vlans) for name in host.spec.uplinks}
        node.bridges = linux_bridges(host, vlans) if node.linux else {
            host.spec.bridge: Bridge(host.spec.bridge, ports=ports)}
        node.pools = {pool.name: Pool(pool.name, pool.path) for pool in host.spec.folders}
    orders = orders_of(desired)
    for name, grantor in orders.grantors.items():
        world.nodes[name].grantor = GrantorState(grantor, world.nodes[name].boot, world.now())
    for name, guard in orders.guards.items():
        world.nodes[name].guard = GuardState(guard, world.nodes[name].boot, world.epoch())
    order = sorted(desired.virtual_machines.values(),
                   key=lambda vm: (-vm.spec.memory_bytes, vm.name))
    for vm in order:
        _install(world, desired, vm)
    for vm in order:
        protect(world, desired, vm)


def linux_bridges(host: Host, vlans: tuple[int, ...]) -> dict[str, Bridge]:
    """Return the bridges of a host with Linux bridges: the first has its uplinks."""
    found = {name: Bridge(name) for name in bridges_of(host)}
    for name in host.spec.uplinks:
        found[host.spec.bridge].ports[name] = Port(
            name, DEFAULT_VLAN, tuple(sorted({DEFAULT_VLAN, *vlans})) if vlans else (),
            "native-untagged" if vlans else "access")
    return found


def trunk_port(name: str, vlans: tuple[int, ...]) -> Port:
    """Return a trunk on which exactly `vlans` pass; none at all is written as VLAN 0 alone."""
    return Port(name, trunks=vlans or (0,), vlan_mode="trunk")


def site_vlans(desired: Desired, site: str) -> tuple[int, ...]:
    """Return the VLANs that every host of `site` carries."""
    return tuple(sorted(n.spec.vlan for n in desired.networks.values()
                        if n.spec.vlan is not None and site in n.spec.sites))


def stretched_vlans(desired: Desired, link: str) -> tuple[int, ...]:
    """Return the VLANs that span both ends of `link`."""
    ends = set(desired.inter_site_links[link].spec.between)
    return tuple(sorted(n.spec.vlan for n in desired.networks.values()
                        if n.spec.vlan is not None and ends <= set(n.spec.sites)))


def _install(world: World, desired: Desired, vm: VirtualMachine) -> None:
    """Define a VM on the emptiest suitable host, and start it if it is declared on."""
    node = world.nodes[_place(world, desired, vm)]
    host = desired.hosts[node.name]
    paths = {pool.name: pool.path for pool in host.spec.folders}
    for disk in vm.spec.disks:
        path = disk_path(paths, vm.name, disk)
        world.store_of(node, path)[path] = File(
            disk.format, disk.size_bytes or GIB, disk.size_bytes // 3, f"{vm.name}-{disk.name}")
    uuid = vm.spec.uuid or str(uuid5(NAMESPACE_URL, f"hotsite:{desired.estate.name}/{vm.name}"))
    called = vm.libvirt_name
    domain = Domain(
        called, uuid, _config(desired, vm, paths, host.spec),
        Ownership(desired.estate.name, str(vm.spec.deletion), vm.name, uuid=uuid, domain=called))
    node.domains[called] = domain
    if vm.spec.power is Power.ON:
        run_domain(node, domain, "booted")


def disk_path(paths: dict[str, str], vm: str, disk: DiskSpec) -> str:
    """Return where a disk lies; `paths` are those of the pools."""
    if disk.source is not None:
        return disk.source.path or str(disk.source.observed)
    return f"{paths[disk.pool]}/{vm}-{disk.name}.{disk.format}"


def disk_type(disk: DiskSpec) -> str:
    """Return libvirt's word for where a disk lies."""
    if disk.source is None or disk.source.file is not None:
        return "file"
    return "block" if disk.source.block is not None else "network"


def _place(world: World, desired: Desired, vm: VirtualMachine) -> str:
    """Return the host with the most free memory among those that `vm` may run on."""
    if vm.spec.placement.host is not None:
        return vm.spec.placement.host
    groups = set(vm.spec.placement.anti_affinity)
    crowded = {node.name for node in world.nodes.values() for name in node.domains
               if name in desired.virtual_machines and groups & set(
                   desired.virtual_machines[name].spec.placement.anti_affinity)}
    reached = {site for nic in vm.spec.nics if nic.network is not None
               for site in desired.networks[nic.network].spec.sites}
    fit = [host.name for host in desired.hosts.values() if host.name not in crowded
           and vm.spec.placement.site in {None, host.spec.site} and not host.spec.maintenance
           and (not reached or host.spec.site in reached)
           and set(vm.spec.pools) <= {pool.name for pool in host.spec.folders}]
    return min(fit, key=lambda name: (
        world.nodes[name].memory_used_bytes() - world.nodes[name].memory_bytes, name))


def _card(desired: Desired, nic: NicSpec, host: HostSpec) -> NicFacts:
    """Return a card where its host has its network; one that is kept is plugged in somewhere."""
    if nic.kept:
        return NicFacts(nic.mac, "", None, None, nic.model, "direct")
    place = attachment_of(nic.on, desired.networks[nic.on].spec.vlan, host)
    if place.libvirt_network:
        return NicFacts(nic.mac, "", None, None, nic.model, "network",
                        network=place.libvirt_network)
    tag = place.vlan if host.driver == OPENVSWITCH else None
    return NicFacts(nic.mac, place.bridge, tag, None, nic.model)


def _config(desired: Desired, vm: VirtualMachine, paths: dict[str, str], host: HostSpec,
            ) -> DomainConfig:
    """Return the domain configuration that `vm` declares."""
    disks = tuple(DiskFacts(d.name, disk_path(paths, vm.name, d), d.format, d.size_bytes or GIB,
                            disk_type(d)) for d in vm.spec.disks)
    nics = tuple(_card(desired, nic, host) for nic in vm.spec.nics)
    return DomainConfig(vm.spec.memory_bytes, vm.spec.memory_bytes, vm.spec.cpus, vm.spec.cpus,
                        disks, nics, machine=MACHINE)
