"""A machine with a kernel whose bridges look at tags: Debian's, in QEMU, with sshd and Python.

The kernel is the one that the lab has fetched for its guests; all else in it is this machine's own:
sshd, python3, ip and bridge with their libraries. Its address is on br0, untagged, over the device
by which it is reached, as on most hosts: what cuts that off cuts the machine off.
"""

import gzip
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from controller.transport.base import Endpoint
from tests.transport.sshd import free_port, make_key, public

CACHE = Path("/var/lib/hotsite-lab/cache/kernel")
LAB = Path(__file__).parents[3] / "examples/lab"
PROGRAMS = ("/usr/sbin/sshd", "/usr/bin/ip", "/usr/sbin/bridge", "/usr/bin/python3", "/usr/bin/env",
            "/usr/bin/dash", "/bin/busybox")
PYTHON = Path("/usr/lib/python3.11")
UNUSED = ("test", "idlelib", "tkinter", "config-", "__pycache__", "ensurepip", "lib2to3",
          "distutils", "unittest", "pydoc", "turtle", "dist-packages")
MODULES = (
    "drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci", "net/core/failover",
    "drivers/net/net_failover", "drivers/net/virtio_net", "net/llc/llc", "net/802/stp",
    "net/802/garp", "net/802/mrp", "net/bridge/bridge", "net/8021q/8021q", "net/tls/tls",
    "drivers/net/bonding/bonding", "drivers/net/tun")
INIT = """#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
/bin/busybox mkdir -p /proc /sys /dev /run/sshd /tmp /var/empty /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
while read -r module; do /bin/busybox insmod "/modules/$module"; done </modules/order
exec </dev/null >/dev/ttyS0 2>&1
ip=/usr/bin/ip
$ip link set lo up
$ip link add br0 type bridge vlan_filtering 1
$ip link set eth0 up master br0
$ip address add 10.0.2.15/24 dev br0
$ip link set br0 up
$ip route add default via 10.0.2.2
$ip link add bond0 type bond
$ip link set eth1 master bond0
$ip link set eth1 up
$ip link set bond0 up
$ip link add link bond0 name bond0.300 up type vlan id 300
$ip link add br300 up type bridge
$ip link set bond0.300 master br300
$ip tuntap add vnet3 mode tap
$ip link set vnet3 address fe:54:00:0a:00:01 up master br0
chmod 600 /etc/ssh/host_key
/usr/sbin/sshd -e -f /etc/ssh/sshd_config
while :; do /bin/busybox sleep 3600; done
"""
SSHD = """
HostKey /etc/ssh/host_key
AuthorizedKeysFile /root/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
"""


def obstacle() -> str:
    """Why there can be no such machine here, or nothing."""
    missing = [name for name in PROGRAMS if not Path(name).exists()]
    missing += ["qemu-system-x86_64"] if shutil.which("qemu-system-x86_64") is None else []
    if not list(CACHE.glob("boot/vmlinuz-*")) or not PYTHON.is_dir():
        missing.append("the kernel that the lab fetches")
    return f"no {', '.join(missing)}" if missing else ""


def libraries() -> set[str]:
    """Every library of the programs, and of Python's own modules."""
    names = [*PROGRAMS, *map(str, PYTHON.glob("lib-dynload/*.so"))]
    said = subprocess.run(["ldd", *names], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"(/\S+\.so[^\s:]*) \(0x", said)) - set(names)


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of the machine, by its path there."""
    for name in (*PROGRAMS, *sorted(libraries())):
        yield name, Path(name).read_bytes()
    for path in sorted(PYTHON.rglob("*")):
        inside = str(path.relative_to(PYTHON))
        if path.is_file() and not any(word in inside for word in UNUSED):
            yield str(path), path.read_bytes()
    modules = next(CACHE.glob("lib/modules/*/kernel"))
    for module in MODULES:
        yield f"/modules/{Path(module).name}.ko", lab_guests().load_module(modules / module)
    order = "".join(f"{Path(module).name}.ko\n" for module in MODULES)
    yield "/modules/order", order.encode()
    yield "/init", INIT.encode()
    yield "/etc/passwd", (b"root:*:0:0::/root:/bin/sh\n"
                          b"sshd:*:74:65534::/run/sshd:/bin/false\n")
    yield "/etc/group", b"root:x:0:\n"
    yield "/etc/ssh/sshd_config", SSHD.encode()
    yield "/etc/ssh/host_key", (folder / "host_key").read_bytes()
    yield "/root/authorized_keys", public(folder / "id").encode() + b"\n"


def lab_guests() -> Any:
    """The lab's own way to make a guest; another module may be called guests, too."""
    spec = spec_from_file_location("lab_guests", LAB / "guests.py")
    assert spec is not None, "it is a file"
    assert spec.loader is not None, "it is Python"
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(LAB))    # for what it imports
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(LAB))
    return module


def archive(folder: Path) -> bytes:
    """The whole machine as an initramfs."""
    guests = lab_guests()
    entries, made = [], set()
    found = dict(files(folder))
    links = {f"/bin/{name}": b"busybox" for name in ("chmod", "cat", "mkdir")}
    links["/bin/sh"] = b"/usr/bin/dash"     # busybox's own would prefer its own `ip`
    for name in sorted({*found, *links, "/dev/console"}):
        for parent in reversed(Path(name).parents):
            if str(parent) not in {"/", *made}:
                made.add(str(parent))
                entries.append(guests.Entry(str(parent)[1:], guests.DIRECTORY))
        if name in links:
            entries.append(guests.Entry(name[1:], guests.LINK, links[name]))
        elif name in found:
            entries.append(guests.Entry(name[1:], guests.FILE, found[name]))
    entries.append(guests.Entry("dev/console", guests.DEVICE, major=5, minor=1))
    return gzip.compress(guests.render_archive(entries), 1)


@dataclass
class BridgeNode:
    """The machine while it runs."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def endpoint(self) -> Endpoint:
        """Where it is reached."""
        return Endpoint(name="kvm1", address="127.0.0.1", port=self.port, user="root",
                        key_file=str(self.folder / "id"), known_hosts=str(self.folder / "known"))

    def console(self) -> str:
        """What it has said so far."""
        return (self.folder / "console").read_text(errors="replace")


def start(folder: Path) -> BridgeNode:
    """Make the machine and switch it on."""
    make_key(folder / "host_key")
    make_key(folder / "id")
    (folder / "initrd").write_bytes(archive(folder))
    port = free_port()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {public(folder / 'host_key')}\n")
    kernel = next(CACHE.glob("boot/vmlinuz-*"))
    process = subprocess.Popen(
        ["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max", "-m", "400", "-smp", "1",
         "-nodefaults", "-no-user-config", "-display", "none", "-serial", f"file:{folder}/console",
         "-kernel", str(kernel), "-initrd", str(folder / "initrd"), "-append",
         "console=ttyS0 quiet random.trust_cpu=on net.ifnames=0 panic=-1", "-no-reboot",
         "-netdev", f"user,id=a,hostfwd=tcp:127.0.0.1:{port}-:22", "-device",
         "virtio-net-pci,netdev=a", "-netdev", "user,id=b,restrict=on", "-device",
         "virtio-net-pci,netdev=b"], stdin=subprocess.DEVNULL)
    return BridgeNode(folder, port, process)
