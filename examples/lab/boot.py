"""Be process 1 of one node: make its private world, start its daemons, reap what ends.

It runs inside the node's network, mount, host-name and process namespaces, and is loaded whole
before the first mount hides anything. When it dies, the kernel ends every process of the node.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

READ_ONLY, REMOUNT, BIND, RECURSIVE = 1, 32, 4096, 16384  # flags of mount(2)
OWN_IN_ETC = ("hotsite", "keepalived", "libvirt", "openvswitch", "ssh")
FOLDERS = {  # what is private to a node -> the folder that holds it
    "/etc": "etc",
    "/root": "root",
    "/tmp": "tmp",
    "/var/log": "log",
    "/var/cache/libvirt": "../../cache/libvirt",
    "/var/lib/libvirt": "libvirt",
    "/var/lib/libvirt/images": "mounted/images",
    "/var/lib/hotsite": "mounted/hotsite",
}
OF_A_WITNESS = {"/var/lib/hotsite": "hotsite"}
libc = ctypes.CDLL(None, use_errno=True)


class PowerButton(Exception):
    """The node was asked to end in good order."""


def mount(source: str, target: str, kind: str, flags: int) -> None:
    """Mount, or raise OSError with the target's name."""
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, b"") != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), target)


def run(*argv: str) -> str:
    """Run one program of the node; a failure ends the boot with what it said."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(argv)} failed: {done.stdout.strip()}")
    return done.stdout


def make_private_world(folder: Path, kind: str, name: str) -> None:
    """Hide the machine's own state behind the node's; /run starts empty as after any boot."""
    mount("tmpfs", "/run", "tmpfs", 0)
    share_folders_of_etc(folder / "etc")
    places = {**FOLDERS, **(OF_A_WITNESS if kind == "witness" else {})}
    for target, inside in places.items():
        source = folder / inside
        if source.is_dir() and (kind == "host" or not target.startswith("/var/lib")
                                or target in OF_A_WITNESS):
            mount(str(source), target, "none", BIND | RECURSIVE)
    for place in ("sshd", "lock", "libvirt", "openvswitch", "hotsite"):
        Path("/run", place).mkdir()
    Path("/var/log/openvswitch").mkdir(exist_ok=True)
    Path("/var/log/libvirt").mkdir(exist_ok=True)
    if (folder / "watchdog").is_fifo():
        Path("/run/hotsite/watchdog").touch()
        mount(str(folder / "watchdog"), "/run/hotsite/watchdog", "none", BIND)
    socket.sethostname(name)
    Path("/run/hotsite/boot_id").write_text(f"{uuid.uuid4()}\n")


def cables(ports: list[str]) -> list[str]:
    """Return those of the node's interfaces that are cables to other nodes."""
    return [*(link for _, link in socket.if_nameindex() if link in ("adm0", "rep0")), *ports]


def share_folders_of_etc(etc: Path) -> None:
    """Show the node the folders of the machine's /etc that are not its own, read-only."""
    for place in sorted(etc.iterdir()):
        machine = Path("/etc", place.name)
        if place.is_dir() and not place.is_symlink() and place.name not in OWN_IN_ETC:
            if machine.is_dir():
                mount(str(machine), str(place), "none", BIND)
                mount("none", str(place), "none", REMOUNT | BIND | READ_ONLY)


def raise_links(ports: list[str]) -> None:
    """Bring the node's interfaces up; guests' frames cross user-space switches, so no offload."""
    for link in ("lo", *cables(ports)):
        run("ip", "link", "set", link, "up")
    for port in ports:
        run("ethtool", "-K", port, "tx", "off")


def start_openvswitch(kind: str, ports: list[str]) -> None:
    """Start the node's own Open vSwitch on its own database, with bridge br0 and its ports."""
    database = Path("/etc/openvswitch/conf.db")
    if not database.exists():
        run("ovsdb-tool", "create", str(database), "/usr/share/openvswitch/vswitch.ovsschema")
    run("ovsdb-server", str(database), "--remote=punix:/run/openvswitch/db.sock", "--pidfile",
        "--detach", "--log-file")  # fmt: skip
    run("ovs-vsctl", "--no-wait", "init")
    run("ovs-vswitchd", "--pidfile", "--detach", "--log-file", "unix:/run/openvswitch/db.sock")
    words = ["ovs-vsctl", "--may-exist", "add-br", "br0", "--", "set", "bridge", "br0",
             "datapath_type=netdev"]  # fmt: skip
    if kind == "switch":
        words += ["rstp_enable=true"]
    for port in ports:
        words += ["--", "--may-exist", "add-port", "br0", port]
        if kind == "switch" and port.startswith("h"):
            words += ["--", "set", "port", port, "other_config:rstp-port-admin-edge=true"]
    run(*words)


def wait_until_accepted(path_or_address: "str | tuple[str, int]") -> None:
    """Return once something accepts connections there."""
    family = socket.AF_UNIX if isinstance(path_or_address, str) else socket.AF_INET
    deadline = time.monotonic() + 30
    while True:
        with socket.socket(family) as probe:
            try:
                probe.connect(path_or_address)
                return
            except OSError as refusal:
                if time.monotonic() > deadline:
                    raise SystemExit(f"{path_or_address} never answered: {refusal}") from refusal
                time.sleep(0.02)


def start_libvirt() -> None:
    """Start virtlogd and libvirtd; libvirt starts the domains marked for autostart."""
    run("virtlogd", "-d")
    run("libvirtd", "-d")
    wait_until_accepted("/run/libvirt/libvirt-sock")
    run("virsh", "-c", "qemu:///system", "-q", "pool-list")


def start_sshd(address: str) -> None:
    """Start sshd and wait until it accepts connections."""
    subprocess.Popen(["/usr/sbin/sshd", "-D", "-E", "/var/log/sshd.log"])
    wait_until_accepted((address, 22))


def press_power_button(_number: int, _frame: object) -> None:
    """Turn SIGTERM into an orderly end."""
    raise PowerButton


def reap_forever() -> None:
    """Collect every orphan of the node until somebody ends it."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(0.5)


def end_guests() -> None:
    """Ask the guests to end, and wait for them twenty seconds at most."""
    virsh = ["virsh", "-c", "qemu:///system", "-q"]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        listing = subprocess.run([*virsh, "list", "--name"], capture_output=True, text=True)
        names = listing.stdout.split()
        if not names:
            return
        for name in names:
            subprocess.run([*virsh, "shutdown", name], capture_output=True)
        time.sleep(0.5)


def main() -> None:
    """Boot the node described by the one argument."""
    node = json.loads(sys.argv[1])
    kind, ports, folder = node["kind"], node["ports"], Path(node["folder"])
    signal.signal(signal.SIGTERM, press_power_button)
    try:
        make_private_world(folder, kind, node["name"])
        Path("/run/hotsite/memory_bytes").write_text(f"{node['memory_bytes']}\n")
        Path("/run/hotsite/product_uuid").write_text(f"{node['product_uuid']}\n")
        raise_links(ports)
        if kind != "witness":
            start_openvswitch(kind, ports)
        if kind == "host":
            start_libvirt()
        start_sshd(node["address"])
        (folder / "ready").touch()
        reap_forever()
    except PowerButton:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if kind == "host":
            end_guests()
        for link in cables(ports):
            run("ip", "link", "set", link, "down")


if __name__ == "__main__":
    main()
