"""Drive the lab as a person would, by its command, and read what its guests did."""

import os
import re
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
COMMAND = ROOT / "examples/lab/lab"
TEMPLATE = ROOT / "specs/templates/guest.xml"
STATE = Path(os.environ.get("HOTSITE_LAB", "/var/lib/hotsite-lab"))
DISK = "/machine/peripheral/virtio-disk0/virtio-backend"
WRITE = """dd if=/dev/urandom of=/tmp/noise bs=1M count="$2" status=none
virsh -q qemu-monitor-command "$1" --hmp "$3"
rm /tmp/noise"""
RECORD = re.compile(r"^record (\d{12}) (\d+) ([\d.]+)$", re.MULTILINE)


class Reply(NamedTuple):
    """How a command ended and what it said."""

    status: int
    output: str
    complaint: str


class Record(NamedTuple):
    """One record that a guest wrote to its disk."""

    number: int
    rtc_s: int
    uptime_s: float


def wait_until(what: str, condition: Callable[[], bool], limit_s: float = 180) -> None:
    """Return once the condition holds; fail with its name at a limit that no busy machine meets."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < limit_s, f"not within {limit_s:g} s: {what}"
        time.sleep(0.2)  # each look costs processor time that the guests want


def wait_until_empty(find: Callable[[], list[str]], after: str = "") -> None:
    """Return once nothing is left behind; fail with what is found still, and after what."""
    found: list[str] = []

    def is_clean() -> bool:
        found[:] = find()
        return not found

    try:
        wait_until("nothing is left behind", is_clean)
    except AssertionError as error:
        raise AssertionError(f"{error}: {found} {after}".rstrip()) from error


def parse_records(text: str) -> tuple[Record, ...]:
    """Return the records in a disk's text, by number."""
    found = (Record(int(n), int(rtc), float(up)) for n, rtc, up in RECORD.findall(text))
    return tuple(sorted(found))


def is_one_life(records: tuple[Record, ...]) -> bool:
    """Say whether a guest wrote all of these since one boot: its uptime only grows."""
    return all(later.uptime_s > earlier.uptime_s for earlier, later in pairwise(records))


class Lab:
    """One running lab; every method is one command of it."""

    def __init__(self, state: Path = STATE, prefix: tuple[str, ...] = ()) -> None:
        """Speak to the lab in that state folder, through a prefix such as nsenter's."""
        self.state = state
        self.prefix = prefix

    def command(self, *words: str) -> list[str]:
        """Return the argv of a command of the lab."""
        return [*self.prefix, str(COMMAND), *words]

    def environment(self) -> dict[str, str]:
        """Return the environment of a command of the lab."""
        return {**os.environ, "HOTSITE_LAB": str(self.state)}

    def ask(self, *words: str, text: str = "", limit_s: float = 300) -> Reply:
        """Run a command of the lab and return how it ended."""
        done = subprocess.run(
            self.command(*words), input=text, capture_output=True, text=True,
            timeout=limit_s, env=self.environment(), check=False,
        )
        return Reply(done.returncode, done.stdout, done.stderr)

    def run(self, *words: str, text: str = "", limit_s: float = 300) -> str:
        """Run a command of the lab that must succeed, and return its output."""
        reply = self.ask(*words, text=text, limit_s=limit_s)
        assert reply.status == 0, f"lab {' '.join(words)}: {reply.complaint.strip()}"
        return reply.output

    def exec(self, node: str, *argv: str, text: str = "") -> str:
        """Run a command inside a node, past its sshd."""
        return self.run("exec", node, "--", *argv, text=text)

    def break_(self, fault: str, *details: str) -> None:
        """Break something."""
        self.run("break", fault, *details)

    def mend(self, fault: str, *details: str) -> None:
        """Mend what was broken."""
        self.run("mend", fault, *details)

    def nodes(self) -> dict[str, str]:
        """Return each node's condition: on, off or hung."""
        rows = (line.split() for line in self.ask("status").output.splitlines())
        return {name: condition for name, _, condition in rows}

    def virsh(self, host: str, *words: str) -> str:
        """Run virsh on a host."""
        return self.exec(host, "virsh", "-q", "-c", "qemu:///system", *words)

    def running(self, host: str) -> frozenset[str]:
        """Return the guests that run on a host."""
        return frozenset(self.virsh(host, "list", "--name").split())

    def domain(self, host: str, vm: str) -> ElementTree.Element:
        """Return a guest's definition, as it runs if it runs."""
        return ElementTree.fromstring(self.virsh(host, "dumpxml", vm))

    def ovs(self, node: str, *words: str) -> str:
        """Run ovs-vsctl on a node."""
        return self.exec(node, "ovs-vsctl", *words).strip()

    def guest_port(self, host: str, vm: str) -> str:
        """Return the bridge port of a running guest's first interface."""
        target = self.domain(host, vm).find("devices/interface/target")
        assert target is not None, f"{vm} has no port on {host}"
        return target.attrib["dev"]

    def vlan_of(self, host: str, vm: str) -> int:
        """Return the VLAN tag that a guest's port really has."""
        return int(self.ovs(host, "get", "port", self.guest_port(host, vm), "tag"))

    def guest(self, host: str, vm: str, *command: str) -> Reply:
        """Run a command inside a guest."""
        return self.ask("guest", host, vm, *command)

    def pings(self, host: str, vm: str, address: str) -> bool:
        """Say whether a guest reaches an address within a second."""
        return self.guest(host, vm, "ping", "-c", "1", "-W", "1", address).status == 0

    def write(self, host: str, vm: str, first_mib: int, mib: int, content: str = "") -> None:
        """Let a running guest's first disk be written to as if by the guest, through its QEMU.

        Shapes: `content` is qemu-io's word for it; bytes that do not compress without.
        """
        asked = f'qemu-io -d {DISK} "write {content or "-s /tmp/noise"} {first_mib}M {mib}M"'
        said = self.exec(host, "sh", "-ec", WRITE, "sh", vm, str(mib), asked)
        assert not said.strip(), said  # how much it wrote is told to nobody

    def disk(self, host: str, vm: str) -> str:
        """Return the path of a guest's first disk on its host."""
        source = self.domain(host, vm).find("devices/disk[@device='disk']/source")
        assert source is not None, f"{vm} has no disk"
        return source.attrib["file"]

    def records(self, host: str, vm: str) -> tuple[Record, ...]:
        """Return what a guest wrote to its first disk, running or not, by number."""
        script = (
            'raw=$(mktemp) && qemu-img dd -U -O raw bs=4096 count=4096 if="$1" of="$raw" &&'
            " tr -d '\\0' <\"$raw\"; rm -f \"$raw\""
        )
        return parse_records(self.exec(host, "sh", "-c", script, "sh", self.disk(host, vm)))

    def has_written(self, host: str, vm: str) -> bool:
        """Say whether a guest has written its first record: whether it has booted."""
        return bool(self.records(host, vm))

    def up(self, *words: str) -> str:
        """Bring the lab up."""
        return self.run("up", *words)

    def down(self, *words: str) -> str:
        """Take the lab down."""
        return self.run("down", *words)


def bare(template: str) -> str:
    """Return the template of a guest without an operating system: it runs, and owns its disk."""
    found = re.sub(r"\n *<(initrd|cmdline)>.*?</\1>", "", template)
    return found.replace("/guest/vmlinuz<", "/guest/bare<")


def render_guest(name: str, mac: str, vlan: int, disk: str, kind: str = "raw", *,
                 system: bool = True) -> str:
    """Return the definition of a guest with one disk and one interface, as the template says."""
    template = TEMPLATE.read_text()
    domain = ElementTree.fromstring(template if system else bare(template))
    ElementTree.SubElement(domain, "name").text = name
    ElementTree.SubElement(domain, "memory", unit="MiB").text = "128"
    ElementTree.SubElement(domain, "vcpu").text = "1"
    devices = domain.find("devices")
    assert devices is not None
    devices.append(ElementTree.fromstring(
        f"<disk type='file' device='disk'><driver name='qemu' type='{kind}'/>"
        f"<source file='{disk}'/><target dev='vda' bus='virtio'/></disk>"
    ))
    devices.append(ElementTree.fromstring(
        f"<interface type='bridge'><mac address='{mac}'/><source bridge='br0'/>"
        f"<virtualport type='openvswitch'/><vlan><tag id='{vlan}'/></vlan>"
        "<model type='virtio'/></interface>"
    ))
    return ElementTree.tostring(domain, encoding="unicode")
