"""Bring the stock hosts up and take them down: cables, one QEMU each, and what a first boot needs.

All cables and processes of theirs are in a namespace, from which nothing is forwarded; one cable
leads to this machine. Their disks are overlays that go with them.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from places import (
    CACHE,
    DISK_BYTES,
    EVERY,
    GATE,
    NAMESPACE,
    PLANES,
    RUN,
    Stock,
    StockError,
    on,
    run,
    ssh_argv,
    wait_for,
)

BOOT_S = 600
STOP_S = 30
MEMORY_MIB = 2048
KERNEL = ("root=/dev/vda rw console=ttyS0 apparmor=1 security=apparmor mitigations=off"
          " net.ifnames=1")
FIRST_BOOT = """
set -e
aa-status --enabled
vgs vg0 >/dev/null 2>&1 || {
    pvcreate -q /dev/vdb && vgcreate -q vg0 /dev/vdb && lvcreate -q -T -L 2G vg0/thin
} >/dev/null
virsh -q net-info default | grep -q 'Active: *yes' || virsh -q net-start default
virsh -q version >/dev/null
"""
"""libvirtd wakes and asks every QEMU what it can do, which takes its time here."""


def up(hosts: tuple[Stock, ...], *, keep: bool) -> None:
    """Boot hosts that are not up, and wait until they are ready; `keep`: on the disks they had."""
    lay_cables()
    RUN.mkdir(mode=0o700, parents=True, exist_ok=True)
    for host in hosts:
        if pid_of(host) is None:
            make_disks(host, keep=keep)
            boot(host)
    for host in hosts:
        wait_for(f"a login to {host.name} (its console is in {host.running('console')})",
                 lambda host=host: is_reached(host), BOOT_S)
        on(host, FIRST_BOOT, timeout_s=BOOT_S)


def down() -> None:
    """Take every host and cable away, and the hosts' disks."""
    for host in EVERY:
        stop(host)
    if is_laid():
        run("ip", "netns", "del", NAMESPACE)
    shutil.rmtree(RUN, ignore_errors=True)


def is_laid() -> bool:
    """Say whether the namespace is there."""
    return Path("/run/netns", NAMESPACE).exists()


def lay_cables() -> None:
    """Make the namespace with a bridge for each plane, a tap for each host, and our own cable."""
    if is_laid():
        return
    run("ip", "netns", "add", NAMESPACE)
    inside = ["link set lo up"]
    for plane in PLANES:
        inside += [f"link add {plane} type bridge", f"link set {plane} up"]
        for host in EVERY:
            inside += [f"tuntap add {host.tap(plane)} mode tap",
                       f"link set {host.tap(plane)} master {plane} up"]
    run("ip", "-n", NAMESPACE, "-batch", "-", text="\n".join(inside) + "\n")
    run("ip", "-batch", "-", text="\n".join([
        f"link add {GATE} type veth peer name gate netns {NAMESPACE}",
        f"addr add {PLANES['adm']}.1/24 dev {GATE}",
        f"link set {GATE} up"]) + "\n")
    run("ip", "-n", NAMESPACE, "link", "set", "gate", "master", "adm", "up")


def make_disks(host: Stock, *, keep: bool) -> None:
    """Make the disks that a host runs on: an overlay over its image, and an empty one for LVM."""
    system, second = host.running("system.qcow2"), host.running("lvm.qcow2")
    if keep and system.exists():
        return
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(host.image), "-F", "raw", str(system))
    run("qemu-img", "create", "-q", "-f", "qcow2", str(second), str(DISK_BYTES))


def boot(host: Stock) -> None:
    """Start a host's QEMU; it ends with nobody but `stop`."""
    argv = [
        "ip", "netns", "exec", NAMESPACE, "nice", "-n", "10", "qemu-system-x86_64",
        "-name", host.name, "-machine", "pc", "-accel", "tcg,thread=multi,tb-size=512",
        "-cpu", "Nehalem", "-smp", "2", "-m", str(MEMORY_MIB), "-display", "none", "-no-reboot",
        "-kernel", str(CACHE / f"{host.suite}.vmlinuz"),
        "-initrd", str(CACHE / f"{host.suite}.initrd"), "-append", KERNEL,
        *drive("d0", host.running("system.qcow2"), 6), *drive("d1", host.running("lvm.qcow2"), 8),
        *card(host, "adm", 3), *card(host, "rep", 4),
        "-object", "rng-random,id=r0,filename=/dev/urandom", "-device",
        "virtio-rng-pci,rng=r0,addr=7", "-serial", f"file:{host.running('console')}",
        "-monitor", f"unix:{host.running('monitor')},server=on,wait=off",
        "-pidfile", str(host.running("pid"))]
    with host.running("log").open("ab") as log:
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                         start_new_session=True)
    wait_for(f"{host.name}'s QEMU (see {host.running('log')})",
             lambda: pid_of(host) is not None, STOP_S)


def drive(name: str, path: Path, slot: int) -> list[str]:
    """Return the arguments of one disk, which need not outlive this machine."""
    return ["-drive", f"file={path},if=none,id={name},format=qcow2,cache=unsafe,discard=unmap",
            "-device", f"virtio-blk-pci,drive={name},addr={slot}"]


def card(host: Stock, plane: str, slot: int) -> list[str]:
    """Return the arguments of one card; its slot gives it its name in the host."""
    return ["-netdev", f"tap,id={plane},ifname={host.tap(plane)},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev={plane},addr={slot},"
            f"mac=52:54:66:00:{slot:02x}:{host.octet:02x}"]


def pid_of(host: Stock) -> int | None:
    """Return the process of a host that is up; None if it is not."""
    try:
        pid = int(host.running("pid").read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(str(host.running("pid"))) in words else None


def is_reached(host: Stock) -> bool:
    """Say whether root can log in; StockError if the host has ended meanwhile."""
    if pid_of(host) is None:
        raise StockError(f"{host.name} has ended: see {host.running('console')}")
    return subprocess.run([*ssh_argv(host), "true"], capture_output=True, check=False,
                          timeout=60).returncode == 0


def stop(host: Stock) -> None:
    """Cut a host's power."""
    pid = pid_of(host)
    if pid is None:
        return
    os.kill(pid, signal.SIGKILL)
    wait_for(f"the end of {host.name}", lambda: pid_of(host) is None, STOP_S)
