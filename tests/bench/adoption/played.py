"""Hosts to be imported: real sshds on loopback, behind each a played libvirt with its own domains.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.adoption.estates import Guest, card
from tests.providers.linux.conftest import PlayedHost
from tests.transport.sshd import Sshd, make_key, public

MIB = 1 << 20
ACCESS = "<virtualport type='openvswitch'/><vlan><tag id='200'/></vlan>"


@dataclass(frozen=True)
class Hosts:
    """Hosts that can be logged in to, and with what."""

    words: tuple[str, ...]
    key: Path
    known_hosts: Path


def guest(number: int, pool: Path) -> Guest:
    """A running VM with one disk and one card."""
    disk = pool / f"guest-{number}.raw"
    disk.touch()
    with disk.open("r+b") as file:
        file.truncate(64 * MIB)
    mac = f"52:54:00:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    return Guest(f"Guest_{number}", number, (
        f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/>"
        "<target dev='vda' bus='virtio'/></disk>") + card(mac, "br0", ACCESS))


@contextmanager
def hosts(folder: Path, count: int, guests: int) -> Iterator[Hosts]:
    """Start so many hosts with so many domains each."""
    key, known = make_key(folder / "id_ed25519"), folder / "known_hosts"
    sshds, words = [], []
    for number in range(count):
        played = PlayedHost(folder / f"host-{number}")
        pool = played.folder / "pool"
        played.domains = [guest(number * guests + one, pool).row() for one in range(1, guests + 1)]
        played.set_libvirt()
        sshd = Sshd(folder / f"sshd-{number}", f"127.78.0.{number + 1}")
        sshd.folder.mkdir()
        shutil.copy(key, sshd.key_file)
        shutil.copy(key.with_suffix(".pub"), sshd.key_file.with_suffix(".pub"))
        sshd.prepare()
        with (sshd.folder / "sshd_config").open("a") as config:
            config.write(f"SetEnv PATH={played.bin}:/usr/bin:/bin HOME={played.folder}\n")
        with known.open("a") as file:
            file.write(f"[{sshd.address}]:{sshd.port} {public(sshd.folder / 'host_key')}\n")
        sshds.append(sshd)
        words.append(f"{sshd.address}:{sshd.port}")
    try:
        for sshd in sshds:
            sshd.start()
        yield Hosts(tuple(words), key, known)
    finally:
        for sshd in sshds:
            sshd.stop()
