"""Wait until those whom a fault befalls notice it: a fault is struck when its effect is seen."""

import json
from collections.abc import Callable

import nodes
import processes
from layout import Node, Topology
from shell import LabError, answers, at_once, run, wait_for
from wires import node_ports

VIRSH = ("virsh", "-c", "qemu:///system", "-q")
STOPPED = "TtZ"
SETTLE_GUESTS = """for vm in $(virsh -q list --name); do
  virsh -q qemu-monitor-command "$vm" --hmp info status >/dev/null 2>&1
done; :"""


def daemons(node: Node, name: str) -> list[int]:
    """Return a node's processes whose program's name begins so."""
    pids = processes.processes_of(node.name)
    return [pid for pid in pids if processes.name_of(pid).startswith(name)]


def is_awake(node: Node, name: str) -> bool:
    """Say whether a node has a daemon of that name that is not stopped."""
    return any(processes.state_of(pid) not in STOPPED for pid in daemons(node, name))


def wait_standstill(what: str, find: Callable[[], list[int]]) -> None:
    """Stop all processes that are found, those too that come meanwhile, until none of them runs."""

    def all_stopped() -> bool:
        awake = [pid for pid in find() if processes.state_of(pid) not in STOPPED]
        processes.pause(awake)
        return not awake

    wait_for(f"the standstill of {what}", all_stopped)


def wait_going_on(node: Node, what: str, find: Callable[[], list[int]]) -> None:
    """Wake all processes that are found, until none of them is stopped and the node greets."""

    def all_awake() -> bool:
        stopped = [pid for pid in find() if processes.state_of(pid) in ("T", "t")]
        processes.wake(stopped)
        return not stopped

    wait_for(f"the going on of {what}", all_awake)
    if is_awake(node, "sshd"):
        wait_for(f"the greeting of {node.name}'s sshd", lambda: greets(node))
    if is_awake(node, "libvirtd"):
        wait_libvirt_settled(node)


def greets(node: Node) -> bool:
    """Say whether a node's sshd greets, to one inside the node: its links may be cut."""
    greeting = f"read -r x </dev/tcp/{node.address('adm')}/22"
    return answers(*nodes.inside(node, "timeout", "3", "bash", "-c", greeting))


def wait_libvirt_settled(host: Node) -> None:
    """Return once libvirt answers, and for each guest of which it thinks that it runs."""
    nodes.on(host, *VIRSH, "list")
    nodes.on(host, "sh", "-c", SETTLE_GUESTS)  # waits while libvirt looks for a guest's QEMU again


def life_of(host: Node, vm: str) -> str:
    """Return libvirt's number for a guest's present life, or nothing where libvirt cannot say."""
    if not is_awake(host, "libvirtd"):
        return ""
    try:
        return nodes.on(host, *VIRSH, "domid", vm).strip()
    except LabError:
        return ""


def wait_death_noticed(host: Node, vm: str, life: str) -> None:
    """Return once libvirt no longer takes that life of a guest for going on."""
    if life:
        noticed = f"libvirt's notice on {host.name} of the end of {vm}"
        wait_for(noticed, lambda: life_of(host, vm) != life)


def wait_links_seen(topology: Topology) -> None:
    """Return once each Open vSwitch that is awake has seen how the cables at its ports are now."""

    def look(node: Node) -> None:
        if is_awake(node, "ovs-vswitchd"):
            wait_for(f"{node.name}'s look at its cables", lambda: sees_its_cables(node, topology))

    at_once(look, [node for node in topology.nodes if node_ports(node, topology)])


def sees_its_cables(node: Node, topology: Topology) -> bool:
    """Say whether Open vSwitch says the same of a node's cables as the kernel does."""
    links = json.loads(run("ip", "-n", node.namespace, "-j", "link"))
    real = {link["ifname"]: "LOWER_UP" in link["flags"] and "UP" in link["flags"] for link in links}
    listed = nodes.on(node, "ovs-vsctl", "--format=json", "--columns=name,link_state", "list",
                      "interface")  # fmt: skip
    seen = {name: state == "up" for name, state in json.loads(listed)["data"]}
    ports = [port for port in node_ports(node, topology) if port in seen]
    return all(seen[port] == real[port] for port in ports)


def wait_flows_settled(node: Node) -> None:
    """Return once no frame is forwarded any more by what Open vSwitch was told before."""
    nodes.on(node, "ovs-appctl", "revalidator/wait")
