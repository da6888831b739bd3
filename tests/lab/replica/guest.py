"""A guest for the tests of replication: two disks, an agent, declared nowhere."""

import base64
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from controller.plan.actions.replica import CopyMode, DiskCopy
from tests.lab.lab import Lab, render_guest, wait_until
from tests.lab.replica.replication import MIB, Replication
from tests.lab.witness import IMAGES, last_number

VM, HOME, OTHER, TO = "ledger", "paris-1", "paris-2", "milan-1"
MAC, VLAN = "52:54:00:0a:00:01", 950
SIZE = 128 * MIB
RAW = DiskCopy("vdb", f"{IMAGES}/{VM}-vdb.raw", "raw", 32 * MIB, CopyMode.INCREMENT)
MAKE = f"""qemu-img create -q -f qcow2 {IMAGES}/{VM}-vda.qcow2 {SIZE}
qemu-img create -q -f raw {RAW.source} {RAW.size_bytes}"""
CLEAR = f"""virsh -q destroy {VM}; virsh -q undefine --checkpoints-metadata --nvram {VM}
virsh -q undefine --checkpoints-metadata {VM}; rm -f {IMAGES}/{VM}-*"""
AGENT = r"""
for node in /sys/class/virtio-ports/*; do
  read -r name 2>/dev/null <"$node/name"
  [ "$name" = org.qemu.guest_agent.0 ] && port=/dev/${node##*/}
done
exec 5<>"$port"
now() { read -r up _ </proc/uptime; echo "$1 $up" >>/agent.log; }
while :; do
  while read -r line <&5; do
    id=${line##*\"id\":}; id=${id%%[!0-9]*}
    case $line in
      *guest-sync-delimited*) printf '\377{"return": %s}\n' "$id" >&5 ;;
      *guest-sync*) printf '{"return": %s}\n' "$id" >&5 ;;
      *freeze-freeze*) now frozen; sleep DELAY; printf '{"return": 1}\n' >&5 ;;
      *freeze-thaw*) now thawed; printf '{"return": 1}\n' >&5 ;;
      *) printf '{"return": {}}\n' >&5 ;;
    esac
  done
  sleep 0.2
done
"""


def render_ledger(*, system: bool) -> str:
    """Return its definition."""
    domain = ElementTree.fromstring(
        render_guest(VM, MAC, VLAN, f"{IMAGES}/{VM}-vda.qcow2", "qcow2", system=system))
    devices = domain.find("devices")
    assert devices is not None
    devices.append(ElementTree.fromstring(
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
        f"<source file='{RAW.source}'/><target dev='vdb' bus='virtio'/></disk>"))
    devices.append(ElementTree.fromstring(
        "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"))
    return ElementTree.tostring(domain, encoding="unicode")


@contextmanager
def kept(lab: Lab, *, system: bool = False) -> Iterator[Replication]:
    """Run it, and leave nothing of it, wherever a test has brought it.

    Shapes: only with a `system` an agent can answer in it.
    """
    clear(lab)
    lab.exec(HOME, "sh", "-ec", MAKE)
    lab.exec(HOME, "virsh", "-q", "define", "/dev/stdin", text=render_ledger(system=system))
    lab.virsh(HOME, "start", VM)
    replication = Replication(lab, VM, HOME, TO, SIZE)
    replication.disks["vdb"] = RAW
    lab.exec(TO, "rm", "-rf", replication.path)
    wait_until("its first record", lambda: last_number(HOME, VM) > 0)
    try:
        yield replication
    finally:
        clear(lab)
        lab.exec(TO, "rm", "-rf", replication.path)


def clear(lab: Lab) -> None:
    """Take it away from both hosts of its site."""
    for host in (HOME, OTHER):
        with suppress(AssertionError):
            lab.exec(host, "sh", "-c", CLEAR)


def serve_agent(ledger: Replication, delay_s: float = 0) -> None:
    """Let an agent answer in the guest that takes so long over a freeze."""
    text = AGENT.replace("DELAY", f"{delay_s:g}")
    script = base64.b64encode(text.encode()).decode()
    inside(ledger, "[ -e /agent.pid ] && kill -9 $(cat /agent.pid); rm -f /agent.log;"
           f" echo {script} | base64 -d >/agent;"
           " sh /agent </dev/null >/dev/null 2>&1 & echo $! >/agent.pid")
    wait_until("the agent", lambda: "name='org.qemu.guest_agent.0' state='connected'" in
               ledger.lab.virsh(ledger.home, "dumpxml", VM))


def inside(ledger: Replication, script: str) -> str:
    """Return what a line of shell prints in the guest."""
    reply = ledger.lab.guest(ledger.home, VM, script)
    assert reply.status == 0, reply.output + reply.complaint
    return reply.output


def is_thawed(ledger: Replication) -> bool:
    """Say whether the last that the agent was told is that the guest may write."""
    return inside(ledger, "tail -n 1 /agent.log").startswith("thawed")
