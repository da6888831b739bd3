"""Faults as lines of text: what breaks, what somebody does by hand, and what mends it again.

Shapes: a host fault names its host first: `kill paris-1 sql`, `trunk paris-sw h1 drop 200`;
`any` stands for the host on which the VM is: `kill any sql`.
"""

from collections.abc import Callable, Mapping
from typing import Final

from controller.model.failover.serving import Word
from controller.providers.simulated import hand_faults, identity_faults, replica_faults
from controller.providers.simulated.bmc import DIALECTS
from controller.providers.simulated.paths import RSTP_GAP_S, forwarding
from controller.providers.simulated.power import power_off, power_on
from controller.providers.simulated.world import CONTROLLER, OWN, ROOT, World


def strike(world: World, text: str) -> str:
    """Do one fault, or its mending, and return a sentence about the new state.

    Errors: ValueError for words that are no fault, or that name nothing in this world.
    """
    word, *rest = text.split() or [""]
    if word not in FAULTS:
        raise ValueError(f"unknown fault {text!r}; known: {', '.join(sorted(FAULTS))}")
    try:
        if rest[:1] == ["any"] and word not in replica_faults.OF_THE_REPLICA:
            rest[0] = whereabouts(world, rest[1])
        return FAULTS[word](world, *rest)
    except (KeyError, TypeError, IndexError, StopIteration) as error:
        raise ValueError(f"cannot do {text!r} here: {error}") from error


def whereabouts(world: World, vm: str) -> str:
    """Return the host on which `vm` runs, or is defined."""
    defined = sorted(node.name for node in world.nodes.values() if vm in node.domains)
    return (*world.copies(vm), *defined)[0]


def power(world: World, host: str, state: str) -> str:
    """`power HOST off|on`: cut or give the power of a host or switch."""
    node = world.node(host)
    if state == "on":
        power_on(world, node)
    else:
        power_off(world, node)
    return f"{host} has {'power again and boots' if state == 'on' else 'no power'}"


def hang(world: World, host: str) -> str:
    """`hang HOST`: every process of the host stands still, its guests too."""
    world.node(host).hung = True
    world.notify(host)
    return f"{host} hangs"


def wake(world: World, host: str) -> str:
    """`wake HOST`: a hung host goes on where it stopped."""
    world.node(host).hung = False
    world.notify(host)
    return f"{host} goes on"


def ssh(world: World, host: str, state: str) -> str:
    """`ssh HOST pause|resume`: the admin network's way in; guests are not concerned."""
    world.node(host).ssh_paused = state == "pause"
    world.notify(host)
    return f"sshd of {host} {'does not answer' if state == 'pause' else 'answers again'}"


def bmc(world: World, host: str, state: str) -> str:
    """`bmc HOST down|up|DIALECT`: its BMC goes dark, or answers as one of that kind does."""
    node = world.node(host)
    if state in {"down", "up"}:
        node.bmc_up = state == "up"
    elif state in DIALECTS:
        node.bmc = state
    else:
        raise KeyError(f"no dialect {state}; there are {', '.join(sorted(DIALECTS))}")
    return f"the BMC of {host} is {state}"


def guest(world: World, vm: str, state: str) -> str:
    """`guest VM well|silent|denies`: how it answers whoever asks whether it serves."""
    if state == "well":
        world.troubles.pop(vm, None)
    else:
        world.troubles[vm] = Word(state)
    for node in world.nodes.values():
        if vm in node.domains:
            world.notify(node.name)
    return f"whoever asks {vm} finds it {state}"


def forget(world: World, host: str, state: str = "on") -> str:
    """`forget HOST on|off`: its QEMU cannot go on with a guest that another host saved."""
    world.node(host).forgetful = state == "on"
    return f"{host} {'cannot' if state == 'on' else 'can'} go on with what was saved elsewhere"


def libvirtd(world: World, host: str, state: str) -> str:
    """`libvirtd HOST kill|start`: guests run on without it; jobs do not."""
    node = world.node(host)
    node.libvirt_up = state == "start"
    world.notify(host)
    return f"libvirtd of {host} {'runs' if node.libvirt_up else 'is dead'}"


def machines(world: World, host: str, *types: str) -> str:
    """`machines HOST TYPE…`: another QEMU is installed, which can be these machines."""
    world.node(host).machines = types
    return f"QEMU of {host} can be {' and '.join(types)}"


def site(world: World, name: str, state: str) -> str:
    """`site SITE cut|join`: cut a whole site off from the controller and from its twin."""
    if name not in {node.site for node in world.nodes.values()}:
        raise KeyError(f"no site {name}")
    wires = {w.member for w in world.wires.values() if w.between_switches and name in
             {world.node(w.a[0]).site, world.node(w.b[0]).site}}
    if state == "cut":
        world.sites_cut.add(name)
        world.wires_down |= wires
    else:
        world.sites_cut.discard(name)
        world.wires_down -= wires
    for node in sorted(n.name for n in world.nodes.values() if n.site == name):
        world.notify(node)
    return f"site {name} is {'cut off' if state == 'cut' else 'connected again'}"


def way(world: World, one: str, other: str, state: str) -> str:
    """`way A B cut|join`: nothing passes between two nodes; each may be a site, or the controller.
    """
    ends = [(name,) if name == CONTROLLER or name in world.nodes else
            tuple(node.name for node in world.nodes.values() if node.site == name)
            for name in (one, other)]
    if not all(ends):
        raise KeyError(f"there is no {one if not ends[0] else other}")
    pairs = {frozenset((here, there)) for here in ends[0] for there in ends[1]}
    world.ways_cut = world.ways_cut | pairs if state == "cut" else world.ways_cut - pairs
    for name in sorted({*ends[0], *ends[1]} - {CONTROLLER}):
        world.notify(name)
    return f"{'nothing' if state == 'cut' else 'everything'} passes between {one} and {other}"


def link(world: World, member: str, state: str) -> str:
    """`link MEMBER|PORT down|up`: one member of an inter-site link, or a host's uplink."""
    wires = [w for w in world.wires.values()
             if member == w.member or (w.between_switches and member in {w.a[1], w.b[1]})]
    wire = wires[0]
    pair = (wire.a[0], wire.b[0])
    before = forwarding(world, pair)
    (world.wires_down.discard if state == "up" else world.wires_down.add)(wire.member)
    if wire.between_switches and forwarding(world, pair) is not before:
        world.rstp_gaps[pair] = world.now() + RSTP_GAP_S
    for name in pair:
        world.notify(name)
    return f"{wire.member} is {state}"


def fill(world: World, host: str) -> str:
    """`fill HOST`: no byte is free in its pools; guests that write are paused by QEMU."""
    world.node(host).full = True
    return f"the pools of {host} are full"


def free(world: World, host: str) -> str:
    """`free HOST`: the space is there again."""
    world.node(host).full = False
    return f"the pools of {host} have room again"


def unmount(world: World, host: str) -> str:
    """`unmount HOST`: it boots again, and the file system of its pools is not mounted."""
    node = world.node(host)
    if node.unmounted_files or node.shared_paths:
        return f"the file system of {host}'s pools stays as it is"
    power_off(world, node)
    node.unmounted_files, node.files = node.files, {}
    node.unmounted_replicas, node.replicas = node.replicas, {}
    for pool in node.pools.values():
        pool.filesystem = ROOT
    power_on(world, node)
    return f"{host} boots without the file system of its pools"


def mount(world: World, host: str) -> str:
    """`mount HOST`: the file system is there again, over whatever was written meanwhile."""
    node = world.node(host)
    if node.unmounted_files or any(pool.filesystem == ROOT for pool in node.pools.values()):
        node.files, node.unmounted_files = node.unmounted_files, {}
        node.replicas, node.unmounted_replicas = node.unmounted_replicas, {}
        for pool in node.pools.values():
            pool.filesystem = OWN
    world.notify(host)
    return f"the file system of {host}'s pools is mounted"


def slow(world: World, host: str, seconds: str) -> str:
    """`slow HOST SECONDS`: every command takes so much longer; 0 mends it."""
    world.node(host).slow_s = float(seconds)
    return f"{host} answers {seconds}s late"


def clock(world: World, host: str, seconds: str) -> str:
    """`clock HOST +SECONDS`: its clock is wrong by so much; 0 mends it."""
    world.node(host).clock_offset_s = float(seconds)
    return f"the clock of {host} is {seconds}s off"


def babble(world: World, host: str) -> str:
    """`babble HOST`: its answers are garbage."""
    world.node(host).babbling = True
    return f"{host} answers garbage"


def speak(world: World, host: str) -> str:
    """`speak HOST`: its answers make sense again."""
    world.node(host).babbling = False
    return f"{host} makes sense again"


def muffle(world: World, host: str, vm: str) -> str:
    """`muffle HOST VM`: libvirt lists the domain there and does not show it; all else it shows."""
    world.node(host).unreadable_domains.add(vm)
    return f"libvirt on {host} does not show {vm}"


def show(world: World, host: str, vm: str) -> str:
    """`show HOST VM`: libvirt shows it again."""
    world.node(host).unreadable_domains.discard(vm)
    return f"libvirt on {host} shows {vm} again"


def dim(world: World, host: str, pool: str) -> str:
    """`dim HOST POOL`: the folder of that pool cannot be looked into."""
    world.node(host).unreadable_pools.add(pool)
    return f"pool {pool} of {host} cannot be looked into"


def light(world: World, host: str, pool: str) -> str:
    """`light HOST POOL`: it can again."""
    world.node(host).unreadable_pools.discard(pool)
    return f"pool {pool} of {host} can be looked into again"


FAULTS: Final[Mapping[str, Callable[..., str]]] = {
    "power": power, "hang": hang, "wake": wake, "ssh": ssh, "bmc": bmc, "libvirtd": libvirtd,
    "machines": machines, "site": site, "way": way, "guest": guest, "forget": forget,
    "link": link, "fill": fill, "free": free, "slow": slow, "clock": clock, "babble": babble,
    "speak": speak, "muffle": muffle, "show": show, "dim": dim, "light": light,
    "unmount": unmount, "mount": mount, **hand_faults.BY_HAND,
    **identity_faults.IDENTITY_FAULTS, **replica_faults.REPLICA_FAULTS,
}
