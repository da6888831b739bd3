"""Build the disks of the stock hosts: one image per Debian suite, and each host's own copy of it.

What differs between hosts of one suite goes in with debugfs, so that nothing is mounted.
"""

import subprocess
import tempfile
from pathlib import Path

from places import CACHE, EVERY, HERE, KEY, KNOWN_HOSTS, Stock, StockError, run

BUILD_S = 3600


def build(host: Stock) -> None:
    """Make a host's disk, unless it is there."""
    make_key()
    if not image_of(host.suite).exists():
        command = ["nice", "-n", "10", str(HERE / "image"), host.suite, str(CACHE)]
        if subprocess.run(command, check=False, timeout=BUILD_S).returncode != 0:
            raise StockError(f"the image of {host.suite} was not built")
    if not host.image.exists():
        make_own(host)


def image_of(suite: str) -> Path:
    """Return the image that all hosts of a suite begin as."""
    return CACHE / f"{suite}.raw"


def make_key() -> None:
    """Make the key that logs in to every stock host."""
    CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not KEY.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "stock", "-f", str(KEY))


def make_own(host: Stock) -> None:
    """Copy a suite's image and put in the host's names, addresses and keys."""
    part = host.image.with_suffix(".part")
    run("cp", "--sparse=always", str(image_of(host.suite)), str(part), timeout_s=600)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        own = Path(folder)
        hostkey = own / "hostkey"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host.name, "-f", str(hostkey))
        public = KEY.with_suffix(".pub").read_text()
        lines = []
        for path, (mode, text) in files_of(host, public, own).items():
            (own / "next").write_text(text)
            local = own / path.replace("/", "_")
            (own / "next").rename(local)
            lines += put(local, path, mode, 1000 if path.startswith("/home/") else 0)
        folders = [line for path, owner in (("/root/.ssh", 0), ("/home/ops/.ssh", 1000))
                   for line in (f"mkdir {path}", *owned(path, "040700", owner))]
        said = run("debugfs", "-w", "-f", "-", str(part), text="\n".join([*folders, *lines]) + "\n")
        checked = subprocess.run(["e2fsck", "-fy", str(part)], capture_output=True, text=True,
                                 check=False)
        if checked.returncode > 1:
            raise StockError(f"the disk of {host.name} is not sound: {said}{checked.stdout}")
        remember(host, hostkey.with_suffix(".pub").read_text())
    part.rename(host.image)


def remember(host: Stock, public: str) -> None:
    """Write a host's key into our known hosts; its old one goes."""
    kind, key = public.split()[:2]
    names = (host.name, host.address, host.replication_address)
    before = KNOWN_HOSTS.read_text().splitlines() if KNOWN_HOSTS.exists() else []
    kept = [line for line in before if not line.startswith(f"{host.name},")]
    KNOWN_HOSTS.write_text("\n".join([*kept, f"{','.join(names)} {kind} {key}"]) + "\n")


def files_of(host: Stock, public: str, own: Path) -> dict[str, tuple[str, str]]:
    """Return a host's own files: by path the mode and the text."""
    others = "".join(f"{one.address} {one.name}\n" for one in EVERY if one is not host)
    return {
        "/etc/hostname": ("0100644", f"{host.name}\n"),
        "/etc/hosts": ("0100644",
                       f"127.0.0.1 localhost\n{host.address} {host.name}\n{others}"),
        "/etc/fstab": ("0100644", "/dev/vda / ext4 errors=remount-ro 0 1\n"),
        "/etc/network/interfaces": ("0100644", interfaces(host)),
        "/etc/ssh/ssh_host_ed25519_key": ("0100600", (own / "hostkey").read_text()),
        "/etc/ssh/ssh_host_ed25519_key.pub": ("0100644", (own / "hostkey.pub").read_text()),
        "/root/.ssh/authorized_keys": ("0100600", public),
        "/home/ops/.ssh/authorized_keys": ("0100600", public),
    }


def interfaces(host: Stock) -> str:
    """Return ifupdown's file: the usual layout, the admin address untagged on the VMs' bridge."""
    return f"""\
auto lo
iface lo inet loopback

auto br0
iface br0 inet static
    address {host.address}/24
    bridge_ports ens3
    bridge_vlan_aware yes
    bridge_stp off
    bridge_fd 0

auto ens4
iface ens4 inet static
    address {host.replication_address}/24
"""


def put(local: Path, path: str, mode: str, owner: int) -> list[str]:
    """Return the commands of debugfs that put one file in."""
    return [f"rm {path}", f"write {local} {path}", *owned(path, mode, owner)]


def owned(path: str, mode: str, owner: int) -> list[str]:
    """Return the commands of debugfs that set a file's mode and owner."""
    return [f"set_inode_field {path} mode {mode}", f"set_inode_field {path} uid {owner}",
            f"set_inode_field {path} gid {owner}"]
