"""After the storm: what differs between the world and the specs, asked of the world itself."""

from itertools import combinations

from controller.model.desired import Desired
from controller.model.virtual_machine import Autostart, Power, VirtualMachine
from controller.providers.simulated.build import site_vlans, stretched_vlans
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.world import DEFAULT_VLAN, Domain

STRANGERS = ("stranger-of-", "guest-of-")


def complaints(estate: SimulatedEstate, desired: Desired) -> list[str]:
    """Everything that is not as declared."""
    found = trunks(estate, desired)
    for vm in desired.virtual_machines.values():
        found += machine(estate, desired, vm) + replica(estate, desired, vm)
    return found + (pings(estate, desired) if not found else [])


def trunks(estate: SimulatedEstate, desired: Desired) -> list[str]:
    """Every trunk that carries less than it should, or more, though nobody uses what is more."""
    used = vlans_of_strangers(estate)
    wanted = {}
    for host in desired.hosts.values():
        for uplink in host.spec.uplinks:
            wanted[host.name, uplink] = site_vlans(desired, host.spec.site)
    for switch in desired.switches.values():
        for port in switch.spec.ports:
            wanted[switch.name, port.name] = (
                stretched_vlans(desired, port.link.split("/")[0]) if port.link
                else site_vlans(desired, switch.spec.site))
    found = []
    for (node, port), vlans in sorted(wanted.items()):
        bridges = estate.world.node(node).bridges.values()
        here = next((b.ports[port] for b in bridges if port in b.ports), None)
        lets = set(here.trunks) - {0} if here is not None else set()
        lets -= {DEFAULT_VLAN} if estate.world.node(node).linux else set()
        if here is not None and here.trunks == ():
            continue        # every VLAN passes, as somebody wants it: it stays
        if here is None or not set(vlans) <= lets or not lets <= set(vlans) | used:
            found.append(f"{port} of {node} carries {here and here.trunks}, not {vlans}")
    return found


def vlans_of_strangers(estate: SimulatedEstate) -> set[int]:
    """The VLANs of guests that no spec knows."""
    return {nic.vlan or 0 for node in estate.world.nodes.values()
            for domain in node.domains.values() if domain.name.startswith(STRANGERS)
            for config in (domain.live, domain.config) if config is not None
            for nic in config.nics}


def machine(estate: SimulatedEstate, desired: Desired, vm: VirtualMachine) -> list[str]:
    """What is not as declared about one VM."""
    world = estate.world
    copies = world.copies(vm.name)
    if vm.spec.power is Power.OFF:
        return [f"{vm.name} runs on {', '.join(copies)}"] if copies else []
    if len(copies) != 1:
        return [f"{vm.name} runs {len(copies)} times"]
    host, domain = desired.hosts[copies[0]], world.node(copies[0]).domains[vm.name]
    found = []
    if vm.spec.placement.host not in {None, host.name}:
        found.append(f"{vm.name} is on {host.name}, not {vm.spec.placement.host}")
    if vm.spec.placement.site not in {None, host.spec.site}:
        found.append(f"{vm.name} is at {host.spec.site}, not {vm.spec.placement.site}")
    if host.spec.maintenance:
        found.append(f"{vm.name} is on {host.name}, which is in maintenance")
    if any(vm.name in node.domains for node in world.nodes.values() if node.name != host.name):
        found.append(f"{vm.name} is defined on more than {host.name}")
    return found + configuration(desired, vm, domain, linux=world.node(host.name).linux)


def replica(estate: SimulatedEstate, desired: Desired, vm: VirtualMachine) -> list[str]:
    """What is missing of the one replica that a protected VM has at the other site."""
    world = estate.world
    homes = [node for node in world.nodes.values() if vm.name in node.domains]
    if vm.spec.protection is None or len(homes) != 1:
        return []
    uuid = homes[0].domains[vm.name].uuid
    good = [node.name for node in world.nodes.values() if node.site != homes[0].site
            and uuid in node.replicas and any(not one.known_bad
                                              for one in node.replicas[uuid].points)]
    left = [f"{homes[0].name} has a forsaken job of {vm.name}"] * (
        homes[0].domains[vm.name].job_is_ours and uuid not in homes[0].traces.locked)
    return left if good else [*left, f"{vm.name} has no good restore point at the other site"]


def configuration(desired: Desired, vm: VirtualMachine, domain: Domain, *,
                  linux: bool) -> list[str]:
    """What the running guest and its definition have that is not declared; `linux`: its host has
    Linux bridges, whose tags are in no definition."""
    found = []
    for name, config in (("live", domain.live), ("config", domain.config)):
        if config is None:
            found.append(f"{vm.name} has no {name} configuration")
            continue
        if (config.memory_bytes, config.cpus) != (vm.spec.memory_bytes, vm.spec.cpus):
            found.append(f"{vm.name} has {config.memory_bytes} bytes and {config.cpus} CPUs {name}")
        vlans = [desired.networks[nic.network].spec.vlan for nic in vm.spec.nics]
        if [nic.vlan for nic in config.nics] != ([None] * len(vlans) if linux else vlans):
            found.append(f"{vm.name} has cards {config.nics} {name}")
    if domain.autostart and vm.spec.autostart is Autostart.OFF:
        found.append(f"{vm.name} starts by itself")
    return found


def pings(estate: SimulatedEstate, desired: Desired) -> list[str]:
    """Guests of one VLAN that do not reach each other, and guests of two that do."""
    running = [vm for vm in desired.virtual_machines.values() if vm.spec.power is Power.ON]
    found = []
    for a, b in combinations(sorted(running, key=lambda vm: vm.name), 2):
        shared = {n.network for n in a.spec.nics} & {n.network for n in b.spec.nics}
        if estate.ping(a.name, b.name) != bool(shared):
            found.append(f"{a.name} and {b.name} {'do not' if shared else 'do'} reach each other")
    return found
