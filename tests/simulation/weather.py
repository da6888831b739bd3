"""What a storm is made of: seeded faults, each with the line that mends it."""

from collections.abc import Callable
from random import Random

from controller.model.facts import DomainState
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.world import ROOT, World
from tests.mending import mending

Draw = Callable[[World, Random], str | None]
BY_HAND = "-by-hand"
"""How a name ends that a person gives to what is not the controller's."""
VLANS = ("30", "40", "99", "200")


def _host(world: World, dice: Random) -> str:
    return dice.choice(sorted(node.name for node in world.nodes.values() if node.is_host))


def _node(world: World, dice: Random) -> str:
    return dice.choice(sorted(world.nodes))


def _defined(world: World, dice: Random) -> tuple[str, str] | None:
    """A host with a VM on it that a human hand could reach at the console."""
    found = sorted((node.name, vm) for node in world.nodes.values() for vm in node.domains
                   if node.powered and not node.hung and node.libvirt_up
                   and not vm.endswith(BY_HAND))
    return dice.choice(found) if found else None


def under_other_names(world: World, dice: Random) -> str | None:
    """Somebody renames a VM, or starts something else on its disks, its replica or its clone."""
    here = _defined(world, dice)
    if here is None:
        return None
    host, vm = here
    domain, other = world.node(host).domains[vm], f"{vm}{BY_HAND}"
    alone = sum(vm in node.domains for node in world.nodes.values()) == 1
    if domain.job or not alone or domain.config is None or domain.ownership is None or any(
            other in node.domains for node in world.nodes.values()):
        return None
    lines = [f"clone {host} {vm} {other}"]
    lines += [f"rescue {node.name} {vm} {other}" for node in world.nodes.values()
              for one in node.replicas.values() if one.machine == vm and one.points]
    if domain.state in {DomainState.RUNNING, DomainState.SHUT_OFF}:
        lines += [f"rename {host} {vm} {other}"] * 2
    if domain.state is DomainState.SHUT_OFF:
        lines += [f"impostor {host} {vm} {other}"] * 2
    moved = moved_by_hand(world, dice)
    if moved is not None:
        _, name, to = moved.split()
        if f"{name}{BY_HAND}" not in {one for node in world.nodes.values() for one in node.domains}:
            lines += [f"rename-migrate {name} {to} {name}{BY_HAND}"] * 3
    return dice.choice(lines)


def _hosts_with_files(world: World, vm: str) -> list[str]:
    """Hosts on which files of the VM lie; with several, a human has to say which are right."""
    return [node.name for node in world.nodes.values()
            if any(file.serial.startswith(f"{vm}-vd")
                   for file in (*node.files.values(), *node.unmounted_files.values()))]


def infrastructure(world: World, dice: Random) -> str | None:
    """Power, lines, daemons."""
    host, node = _host(world, dice), _node(world, dice)
    lines = [f"power {host} off", f"hang {host}", f"ssh {node} pause", f"libvirtd {host} kill",
             f"site {dice.choice(('paris', 'milan'))} cut", f"link metro/{dice.choice('12')} down",
             f"slow {host} {dice.choice((1, 3, 7))}", f"clock {host} {dice.choice((-9, 5, 90))}",
             f"fill {host}", f"babble {node}", f"unmount {host}",
             f"dim {host} default"]
    line = dice.choice(lines)
    dark = line in {f"power {host} off", f"unmount {host}"}
    return None if dark and _has_half_of(world, host) else line


def _has_half_of(world: World, host: str) -> bool:
    """Whether a VM there is defined elsewhere, too: in the dark nothing tells which is right."""
    return any(vm in node.domains for vm in world.node(host).domains
               for node in world.nodes.values() if node.name != host)


def hands(world: World, dice: Random) -> str | None:
    """People at the console of a host."""
    here = _defined(world, dice)
    if here is None:
        return None
    host, vm = here
    domain = world.node(host).domains[vm]
    elsewhere = any(vm in node.domains for node in world.nodes.values() if node.name != host)
    lines = [f"kill {host} {vm}", f"shutoff {host} {vm}", f"tag {host} {vm} {dice.choice(VLANS)}",
             f"untag {host} {vm}", f"memory {host} {vm} 256MiB", f"pause {host} {vm}",
             f"muffle {host} {vm}", f"detach {host} {vm}", f"alien {host} stranger-of-{host}",
             f"alien {host} guest-of-{host} 99"]
    if not elsewhere and domain.job != "migration":
        lines.append(f"autostart {host} {vm}")
        if len(_hosts_with_files(world, vm)) == 1:
            lines += [f"erase {host} {vm}", f"undefine {host} {vm}"]
    line = dice.choice(lines)
    moving = domain.job == "migration" or domain.state is DomainState.INCOMING
    return None if moving else line


def moved_by_hand(world: World, dice: Random) -> str | None:
    """Somebody migrates a running VM, where that would work."""
    here, to = _defined(world, dice), _host(world, dice)
    if here is None or world.sites_cut:
        return None
    source, target = world.node(here[0]), world.node(to)
    domain = source.domains[here[1]]
    fits = domain.live is not None and (
        target.memory_used_bytes() + domain.live.memory_bytes < target.memory_bytes)
    ready = (target.powered and not target.hung and target.libvirt_up and target.pools
             and target.bridges and domain.name not in target.domains
             and all(pool.filesystem != ROOT for pool in target.pools.values()))
    if domain.state is not DomainState.RUNNING or domain.job or not (fits and ready):
        return None
    return f"hand-migrate {domain.name} {to}"


def cables(world: World, dice: Random) -> str | None:
    """Somebody changes a trunk by hand."""
    node = world.node(_node(world, dice))
    ports = sorted(port.name for bridge in node.bridges.values()
                   for port in bridge.ports.values() if port.mac is None)
    if not ports:
        return None
    port = dice.choice(ports)
    return dice.choice((f"trunk {node.name} {port} drop 200", f"trunk {node.name} {port} add 99",
                        f"trunk {node.name} {port} add 99",
                        f"trunk {node.name} {port} all", f"unplug {node.name} {port}"))


def replicas(world: World, dice: Random) -> str | None:
    """Bits rot, files go, tracking is lost, other programs back up, and a crash leaves things."""
    here = sorted((node.name, replica.machine) for node in world.nodes.values()
                  for replica in node.replicas.values() if replica.points)
    there = _defined(world, dice)
    if not here or there is None:
        return None
    at, on = " ".join(dice.choice(here)), " ".join(there)
    return dice.choice((f"damage-replica {at} {dice.choice('139')}", f"truncate-base {at}",
                        f"lose-overlay {at}", f"corrupt-state {at}", f"lose-bitmap {on}",
                        f"lose-checkpoints {on}", f"foreign-backup {on}",
                        f"garbage {there[0]}"))


def wires(world: World, dice: Random) -> str | None:
    """Requests and replies that get lost."""
    return f"{dice.choice(('lose-reply', 'lose-request'))} {dice.choice((1, 1, 2, 3))}"


DRAWS: tuple[Draw, ...] = (infrastructure, infrastructure, hands, hands, moved_by_hand,
                           under_other_names, cables, replicas, wires, wires)


def strike(estate: SimulatedEstate, dice: Random) -> tuple[str, str | None] | None:
    """Do one fault, and return it with the line that mends it."""
    text = dice.choice(DRAWS)(estate.world, dice)
    if text is None:
        return None
    estate.command(text)
    return text, mending(text)
