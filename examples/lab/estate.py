"""Bring the whole lab up, take it down, and say how it is."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bmc
import guests
import holder
import keys
import nodes
import processes
import watchdogs
import wires
from layout import PRIVATE, STATE, Topology, load_topology, save_topology
from shell import LabError, at_once

PROGRAMS = {
    "as": "binutils",
    "busybox": "busybox-static",
    "ethtool": "ethtool",
    "ip": "iproute2",
    "libvirtd": "libvirt-daemon-system",
    "openssl": "openssl",
    "mkfs.ext4": "e2fsprogs",
    "nsenter": "util-linux",
    "ovs-vsctl": "openvswitch-switch",
    "ovs-vswitchd": "openvswitch-switch",
    "ping": "iputils-ping",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "sshd": "openssh-server",
    "sysctl": "procps",
    "virsh": "libvirt-clients",
    "virtlogd": "libvirt-daemon-system",
}
CREATED = STATE / "created"  # folders of the machine that were made to be mounted over


def missing_packages() -> list[str]:
    """Return the Debian packages whose programs are not there."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    return sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)})


def check_machine() -> None:
    """End with one sentence when this machine cannot carry the lab."""
    if os.geteuid() != 0:
        raise LabError("must run as root: it makes network namespaces with real hosts in them")
    missing = missing_packages()
    if missing:
        raise LabError(f"missing packages: {' '.join(missing)}; examples/lab/install brings them")
    guests.kernel_folder()
    if str(STATE).startswith(tuple(f"{place}/" for place in PRIVATE)):
        raise LabError(f"the state folder {STATE} would be hidden inside the nodes: choose another")


@contextmanager
def alone() -> Iterator[None]:
    """Let one command at a time change the lab as a whole."""
    STATE.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (STATE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def up(topology: Topology) -> bool:
    """Bring the lab up and say whether anything had to be done; leftovers are cleared first."""
    with alone():
        if is_complete(topology):
            return False
        if not is_standing(topology):
            raze(keep=(STATE / "keep").exists())
            (STATE / "keep").unlink(missing_ok=True)
            build(topology)
        holder.start()
        at_once(lambda node: nodes.power_on(node, topology), topology.nodes)
        bmc.start()
        watchdogs.start()
        (STATE / "standing").touch()
    return True


def is_standing(topology: Topology) -> bool:
    """Say whether an earlier `up` of this size ended well and its cables are still there."""
    if not (STATE / "standing").exists() or load_topology() != topology:
        return False
    if not (wires.is_laid(topology) and holder.pid()):
        return False
    return all((node.folder / "prepared").exists() for node in topology.nodes)


def is_complete(topology: Topology) -> bool:
    """Say whether there is nothing left to do: every node is on, every BMC serves."""
    if not is_standing(topology):
        return False
    first = processes.first_processes()
    return all(node.name in first for node in topology.nodes) and (
        bmc.is_running() and bool(watchdogs.pid()))


def build(topology: Topology) -> None:
    """Make everything that nodes need before they are switched on."""
    make_mount_points()
    (STATE / "cache/libvirt").mkdir(parents=True, exist_ok=True)
    guests.build()
    keys.make_key(keys.CONTROLLER, "controller")
    keys.make_guard_key()
    at_once(keys.make_keys_of, topology.nodes)
    save_topology(topology)
    at_once(lambda node: nodes.prepare(node, topology), topology.nodes)
    keys.write_controller_files(topology)
    wires.lay(topology)


def make_mount_points() -> None:
    """Make the folders that nodes mount over and the machine lacks, and remember which."""
    made = []
    for place in ("/var/lib/hotsite", "/var/lib/libvirt/images", "/var/cache/libvirt"):
        if not Path(place).exists():
            Path(place).mkdir(parents=True)
            made.append(place)
    if made:
        with CREATED.open("a") as record:
            record.write("".join(f"{place}\n" for place in made))


def remove_mount_points() -> None:
    """Remove the folders that were made, where nothing has been put into them since."""
    if CREATED.exists():
        for place in CREATED.read_text().split():
            try:
                Path(place).rmdir()
            except OSError:
                continue  # somebody uses it now
        CREATED.unlink()


def raze(*, keep: bool) -> None:
    """End every process, mount, cable and, unless kept, every disk of the lab."""
    (STATE / "standing").unlink(missing_ok=True)
    processes.kill_all()
    wires.clear()
    holder.release_disks()
    remove_mount_points()
    if not keep:
        shutil.rmtree(STATE / "nodes", ignore_errors=True)


def down(*, keep: bool) -> None:
    """Take the lab down; keys, kernel and, when asked, the nodes' disks stay."""
    with alone():
        raze(keep=keep)
        if keep:
            (STATE / "keep").touch()


def status(topology: Topology) -> list[tuple[str, str, str]]:
    """Return each node's name, address and condition."""
    first = processes.first_processes()

    def condition(name: str) -> str:
        if name not in first:
            return "off"
        return "hung" if processes.state_of(first[name]) == "T" else "on"

    return [(n.name, n.address("adm"), condition(n.name)) for n in topology.nodes]
