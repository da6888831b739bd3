"""Break the lab on purpose, one named fault at a time, and mend it again."""

import os
import signal
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import effects
import nodes
import processes
import wires
from effects import VIRSH, daemons
from layout import CORE, PLANES, SITES, STATE, SUBNET, TRUNKS, Node, Topology
from redfish import DIALECTS
from shell import LabError, run, wait_for

VLANS = range(1, 4095)
FLIPPED_BYTES = 64
WAY_PREFERENCE = "10"
WAYS = {
    "grants": (("ipproto", "udp", "dport", "7716"), ("ipproto", "udp", "sport", "7716")),
    "ssh": (("ipproto", "tcp", "dport", "22"), ("ipproto", "tcp", "sport", "22")),
    "any": ((),),
}
Words = Sequence[str]
Hand = Callable[[Topology, Words], str]


class Fault(NamedTuple):
    """One kind of fault: how it is written, what it does, and both hands."""

    usage: str
    said: str
    strike: Hand
    mend: Hand


def killed_vm(topology: Topology, words: Words) -> str:
    """Kill a guest's QEMU process, and return when libvirt has noticed."""
    host, vm = topology.host(words[0]), words[1]
    life = effects.life_of(host, vm)
    pids = [
        pid
        for pid in processes.processes_of(host.name)
        if any(word.startswith(f"guest={vm},") for word in processes.command_of(pid))
    ]
    if not pids:
        raise LabError(f"{vm} does not run on {host.name}")
    for pid in pids:
        processes.send(pid, signal.SIGKILL)
    wait_for(f"the end of {vm}", lambda: not any(processes.command_of(pid) for pid in pids))
    effects.wait_death_noticed(host, vm, life)
    return f"killed the QEMU process of {vm} on {host.name}"


def started_vm(topology: Topology, words: Words) -> str:
    """Start a guest again by hand."""
    nodes.on(topology.host(words[0]), *VIRSH, "start", words[1])
    return f"started {words[1]} on {words[0]}"


def unpowered(topology: Topology, words: Words) -> str:
    """Cut a node's power; its neighbours see their cables go dead."""
    nodes.power_off(topology.node(words[0]), topology)
    effects.wait_links_seen(topology)
    return f"{words[0]} is off"


def powered(topology: Topology, words: Words) -> str:
    """Switch a node on; its neighbours see their cables come alive."""
    nodes.power_on(topology.node(words[0]), topology)
    effects.wait_links_seen(topology)
    return f"{words[0]} is on"


def node_that_is_on(topology: Topology, name: str) -> Node:
    """Return a node that is on, or say that it is off."""
    node = topology.node(name)
    if not processes.first_process(node.name):
        raise LabError(f"{node.name} is off; switch it on with: lab mend power {node.name}")
    return node


def hung(topology: Topology, words: Words) -> str:
    """Stop every process of a node, new ones too, until none runs."""
    name = node_that_is_on(topology, words[0]).name
    effects.wait_standstill(name, lambda: processes.processes_of(name))
    return f"{name} hangs"


def woken(topology: Topology, words: Words) -> str:
    """Let every process of a node go on, until it answers."""
    node = node_that_is_on(topology, words[0])
    effects.wait_going_on(node, node.name, lambda: processes.processes_of(node.name))
    return f"{node.name} goes on"


def trunk_set(state: str) -> Hand:
    """Return the hand that brings one trunk member up or down."""

    def hand(topology: Topology, words: Words) -> str:
        if words[0] not in TRUNKS:
            raise LabError(f"no trunk {words[0]}; there are {', '.join(TRUNKS)}")
        wires.set_link(f"hs-{SITES[0]}-sw", words[0], state)
        effects.wait_links_seen(topology)
        return f"trunk {words[0]} is {state}"

    return hand


def site_set(state: str) -> Hand:
    """Return the hand that cuts a site off from everything outside it, or ties it on again."""

    def hand(topology: Topology, words: Words) -> str:
        site = words[0]
        if site not in SITES:
            raise LabError(f"no site {site}; there are {', '.join(SITES)}")
        for plane in PLANES:
            wires.set_link(CORE, wires.site_uplink(plane, site), state)
        for trunk in TRUNKS:
            wires.set_link(f"hs-{site}-sw", trunk, state)
        effects.wait_links_seen(topology)
        return f"the links of {site} to the outside are {state}"

    return hand


def domain_of(host: Node, vm: str) -> ElementTree.Element:
    """Return the definition that a running guest has now."""
    return ElementTree.fromstring(nodes.on(host, *VIRSH, "dumpxml", vm))


def guest_port(host: Node, vm: str) -> str:
    """Return the bridge port of a running guest's first interface."""
    target = domain_of(host, vm).find("devices/interface/target")
    if target is None:
        raise LabError(f"{vm} has no port on {host.name}: is it running there?")
    return target.attrib["dev"]


def retagged(topology: Topology, words: Words) -> str:
    """Change the VLAN tag of a guest's port behind libvirt's back."""
    host, vm, tag = topology.host(words[0]), words[1], words[2]
    port = guest_port(host, vm)
    nodes.on(host, "ovs-vsctl", "set", "port", port, f"tag={int(tag)}")
    effects.wait_flows_settled(host)
    return f"port {port} of {vm} on {host.name} has VLAN {tag}"


def tagged_as_defined(topology: Topology, words: Words) -> str:
    """Give a guest's port the tag that libvirt's definition says."""
    host, vm = topology.host(words[0]), words[1]
    tag = domain_of(host, vm).find("devices/interface/vlan/tag")
    if tag is None:
        nodes.on(host, "ovs-vsctl", "clear", "port", guest_port(host, vm), "tag")
        effects.wait_flows_settled(host)
        return f"the port of {vm} on {host.name} has no VLAN"
    return retagged(topology, (host.name, vm, tag.attrib["id"]))


def allowed_vlans(node: Node, port: str) -> list[int]:
    """Return the VLANs a trunk port allows; Open vSwitch means all of them when it lists none."""
    listed = nodes.on(node, "ovs-vsctl", "get", "port", port, "trunks").strip().strip("[]")
    return [int(vlan) for vlan in listed.split(",")] if listed else list(VLANS)


def change_vlan(topology: Topology, words: Words, verb: str) -> str:
    """Drop a VLAN from a trunk port, or add it."""
    node, port, vlan = topology.node(words[0]), words[1], int(words[3])
    allowed = set(allowed_vlans(node, port))
    allowed = allowed - {vlan} if verb == "drop" else allowed | {vlan}
    # an empty list would mean all of them: VLAN 0 is the nearest to none
    listed = ",".join(str(number) for number in sorted(allowed) or [0])
    nodes.on(node, "ovs-vsctl", "set", "port", port, f"trunks={listed}")
    effects.wait_flows_settled(node)
    return f"VLAN {vlan}: {verb} on {node.name} {port}"


def trunk_changed(topology: Topology, words: Words) -> str:
    """Drop or add, as the words say."""
    if words[2] not in ("drop", "add"):
        raise LabError(f"say drop or add, not {words[2]}")
    return change_vlan(topology, words, words[2])


def trunk_restored(topology: Topology, words: Words) -> str:
    """Do the opposite of what the words say."""
    return change_vlan(topology, words, {"drop": "add", "add": "drop"}[words[2]])


def flipped(topology: Topology, words: Words) -> str:
    """Flip bytes of a file on a host, in the middle or where told; twice is as before."""
    host, name = topology.host(words[0]), words[1]
    path = Path(f"/proc/{processes.first_process(host.name)}/root/{name}")
    if not path.is_file():
        raise LabError(f"no file {name} on {host.name}")
    offset = int(words[2]) if len(words) > 2 else path.stat().st_size // 2
    with path.open("r+b") as file:
        file.seek(offset)
        content = file.read(FLIPPED_BYTES)
        file.seek(offset)
        file.write(bytes(byte ^ 0xFF for byte in content))
        os.fsync(file.fileno())
    return f"flipped {len(content)} bytes of {name} on {host.name} from {offset}"


def filler(host: Node) -> Path:
    """Return the file that fills a host's disk."""
    return host.folder / "disk/lab-fill"


def filled(topology: Topology, words: Words) -> str:
    """Leave no free block on a host's disk; the machine's own disk loses nothing by it."""
    host = topology.host(words[0])
    path = filler(host)

    def is_full() -> bool:
        run("sync", "-f", str(path.parent))  # what was removed just now is free only after that
        fill(path)
        return os.statvfs(path.parent).f_bavail == 0

    wait_for(f"a full disk of {host.name}", is_full)
    return f"the disk of {host.name} is full"


def fill(path: Path) -> None:
    """Let a file grow until nothing is left for it."""
    with path.open("ab") as file:
        step = 1 << 40
        while step >= 4096:
            try:
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
            except OSError:
                step //= 2


def emptied(topology: Topology, words: Words) -> str:
    """Free what was filled, and return when others can have it."""
    host = topology.host(words[0])
    filler(host).unlink(missing_ok=True)
    run("sync", "-f", str(filler(host).parent))
    return f"the disk of {host.name} is free again"


def libvirtd_killed(topology: Topology, words: Words) -> str:
    """Kill a host's libvirtd; its guests run on."""
    host = topology.host(words[0])
    for pid in daemons(host, "libvirtd"):
        processes.send(pid, signal.SIGKILL)
    wait_for("the end of libvirtd", lambda: not daemons(host, "libvirtd"))
    return f"killed libvirtd on {host.name}"


def libvirtd_started(topology: Topology, words: Words) -> str:
    """Start a host's libvirtd again."""
    host = topology.host(words[0])
    if not daemons(host, "libvirtd"):
        nodes.on(host, "libvirtd", "-d")
    effects.wait_libvirt_settled(host)
    return f"libvirtd answers on {host.name}"


def sshd_paused(topology: Topology, words: Words) -> str:
    """Stop a node's sshd, listener and sessions: connections are accepted, nothing answers."""
    node = node_that_is_on(topology, words[0])
    effects.wait_standstill(f"sshd of {node.name}", lambda: daemons(node, "sshd"))
    return f"sshd of {node.name} is paused"


def sshd_woken(topology: Topology, words: Words) -> str:
    """Let a node's sshd go on."""
    node = node_that_is_on(topology, words[0])
    effects.wait_going_on(node, f"sshd of {node.name}", lambda: daemons(node, "sshd"))
    return f"sshd of {node.name} goes on"


def bmc_set(verb: str) -> Hand:
    """Return the hand that takes a BMC off its network, or puts it back."""

    def hand(topology: Topology, words: Words) -> str:
        host = topology.host(words[0])
        space = wires.bmc_namespace(host.site)
        run("ip", "-n", space, "addr", verb, f"{host.address('bmc')}/24", "dev", "bmc0", ok=(0, 2))
        return f"BMC of {host.name}: {verb}"

    return hand


def dialect_set(topology: Topology, words: Words) -> str:
    """Have a host's BMC answer as another kind of BMC does."""
    host, name = topology.host(words[0]), words[1]
    if name not in DIALECTS:
        raise LabError(f"no dialect {name}; there are {', '.join(DIALECTS)}")
    (STATE / f"nodes/{host.name}.dialect").write_text(f"{name}\n")
    return f"the BMC of {host.name} answers as {name}"


def dialect_unset(topology: Topology, words: Words) -> str:
    """Have a host's BMC answer plainly again."""
    host = topology.host(words[0])
    (STATE / f"nodes/{host.name}.dialect").unlink(missing_ok=True)
    return f"the BMC of {host.name} answers plainly"


def watchdog_set(topology: Topology, words: Words) -> str:
    """Let a host's watchdog fire after another time."""
    host = topology.host(words[0])
    (STATE / f"nodes/{host.name}.watchdog_s").write_text(f"{float(words[1])}\n")
    return f"the watchdog of {host.name} fires after {float(words[1]):g} s"


def watchdog_unset(topology: Topology, words: Words) -> str:
    """Let a host's watchdog fire after its usual time."""
    host = topology.host(words[0])
    (STATE / f"nodes/{host.name}.watchdog_s").unlink(missing_ok=True)
    return f"the watchdog of {host.name} fires after its usual time"


def way_rules(topology: Topology, words: Words) -> list[tuple[str, ...]]:
    """Return the routing rules by which a node sends nothing of some kind to somebody."""
    other, kind = words[1], words[2]
    address = () if other == "all" else ("to", f"{SUBNET['adm']}.1" if other == "controller"
                                         else topology.node(other).address("adm"))
    if kind not in WAYS:
        raise LabError(f"no kind {kind}; there are {', '.join(WAYS)}")
    return [(*address, *rule) for rule in WAYS[kind]]


def way_set(verb: str) -> Hand:
    """Return the hand that lets what a node sends to another vanish, or pass again."""

    def hand(topology: Topology, words: Words) -> str:
        node = topology.node(words[0])
        for rule in way_rules(topology, words):
            run("ip", "-n", node.namespace, "rule", verb, "pref", WAY_PREFERENCE, *rule,
                "blackhole", ok=(0, 2))  # fmt: skip
        run("ip", "-n", node.namespace, "route", "flush", "cache")
        return f"{words[2]} from {node.name} to {words[1]}: {verb} the hole"

    return hand


FAULTS = {
    "vm": Fault("HOST VM", "kill its QEMU; mend starts it", killed_vm, started_vm),
    "power": Fault("NODE", "cut its power; mend switches it on", unpowered, powered),
    "hang": Fault("NODE", "stop all its processes", hung, woken),
    "trunk": Fault("tr0|tr1", "cut a trunk member", trunk_set("down"), trunk_set("up")),
    "site": Fault("SITE", "cut a site off from outside", site_set("down"), site_set("up")),
    "vlan-tag": Fault("HOST VM TAG", "retag a guest's port", retagged, tagged_as_defined),
    "trunk-vlan": Fault(
        "NODE PORT drop|add VLAN", "change what a trunk allows", trunk_changed, trunk_restored
    ),
    "replica": Fault("HOST FILE [OFFSET]", "flip bytes; mend flips back", flipped, flipped),
    "fill": Fault("HOST", "fill its disk", filled, emptied),
    "libvirtd": Fault("HOST", "kill libvirtd", libvirtd_killed, libvirtd_started),
    "sshd": Fault("NODE", "pause sshd and its sessions", sshd_paused, sshd_woken),
    "bmc": Fault("HOST", "take its BMC off the network", bmc_set("del"), bmc_set("add")),
    "watchdog": Fault(
        "HOST SECONDS", "have its watchdog fire after so long", watchdog_set, watchdog_unset
    ),
    "way": Fault(
        "NODE NODE|controller|all grants|ssh|any", "lose what it sends there",
        way_set("add"), way_set("del"),
    ),
    "bmc-dialect": Fault(
        "HOST NAME", "have its BMC answer as other kinds do", dialect_set, dialect_unset
    ),
}
HELP = tuple((f"{name} {fault.usage}", fault.said) for name, fault in FAULTS.items())


def strike(topology: Topology, name: str, words: Words, *, mend: bool) -> str:
    """Break or mend one thing and return a sentence that says what was done."""
    fault = FAULTS.get(name)
    if fault is None:
        raise LabError(f"no fault {name!r}; there are {', '.join(FAULTS)}")
    usage = fault.usage.split()
    needed = sum(1 for word in usage if not word.startswith("["))
    if mend and name in ("vlan-tag", "bmc-dialect", "watchdog"):
        needed -= 1
    if not needed <= len(words) <= len(usage):
        raise LabError(f"write: lab {'mend' if mend else 'break'} {name} {fault.usage}")
    return (fault.mend if mend else fault.strike)(topology, words)
