"""
A restore point is served to its drilled guest, read-only, by one qemu-nbd for each disk.

libvirt gives every file that a guest reads to the guest's user, by chown, and writes down whose it
was: that would touch the files of the replica. So QEMU never opens them. What it reads over a
socket, the server opens, as root, for reading alone; the socket alone is given to QEMU's user.

    QEMU ── writes ──► REPLICA/drill/DISK.qcow2
      └──── reads ───► FOLDER/DISK.tunnelmigrate.dest.DOMAIN ──► qemu-nbd -r ──► the point's files

A server ends with the mover that conducts the drill, however that ends. The odd name of the socket
is one that libvirt's AppArmor profile lets a guest of that name open. Source: libvirt,
src/security/virt-aa-helper.c
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from typing import Any, Dict, List, Tuple

from mover.backup.offline import DiskServers, greets, start_server, stop
from mover.backup.virsh import virsh
from mover.errors import TryAgain
from mover.failover.overlay import Layer

FOLDER = os.path.join(os.environ.get("HOTSITE_LIBVIRT_RUN", "/run/libvirt"), "hotsite-drill")
START_S = 10.0
USER = re.compile(r"<model>dac</model>(?:(?!</secmodel>).)*?<baselabel[^>]*>\+(\d+):\+(\d+)<",
                  re.DOTALL)


def image_of(layers: List[Layer]) -> str:
    """Return a chain, uppermost first, in the words of QEMU; nothing below it is believed."""
    image: Any = None
    for layer in reversed(layers):
        image = {"driver": layer.format, "read-only": True,
                 "file": {"driver": "file", "filename": layer.path, "read-only": True},
                 **({"backing": image} if layer.format == "qcow2" else {})}
    return "json:" + json.dumps(image)


def qemu_user() -> Tuple[int, int]:
    """Return the user and the group that libvirt runs guests as on this host."""
    found = USER.search(virsh("capabilities"))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def serve(domain: str, chains: Dict[str, List[Layer]], user: Tuple[int, int]) -> DiskServers:
    """
    Serve each disk's chain to the domain of that name.

    Errors: TryAgain; nothing is served.
    """
    served = DiskServers({}, {}, [], {})
    os.makedirs(FOLDER, mode=0o711, exist_ok=True)
    try:
        for disk, layers in sorted(chains.items()):
            path = socket_of(domain, disk)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            served.sockets[disk] = path
            served.servers.append(start_server([
                "qemu-nbd", "--read-only", "--persistent", "--shared=2", "--socket=" + path,
                image_of(layers)]))
            _await(served.servers[-1], path)
            os.chmod(path, 0o600)
            os.chown(path, *user)
    except BaseException:
        stop(served)
        raise
    return served


def socket_of(domain: str, disk: str) -> str:
    """Return the socket on which a domain's disk is served."""
    return os.path.join(FOLDER, "%s.tunnelmigrate.dest.%s" % (disk, domain))


def _await(server: "subprocess.Popen[bytes]", path: str) -> None:
    until = time.monotonic() + START_S
    while not greets(path):
        if server.poll() is not None:
            assert server.stderr is not None, "it is a pipe"
            raise TryAgain("the restore point cannot be served: %s" % server.stderr.read().decode(
                errors="replace").strip())
        if time.monotonic() > until:
            raise TryAgain("the restore point was not served within %d s" % START_S)
        time.sleep(0.01)


def remove_sockets(domain: str) -> None:
    """Remove the sockets of a domain whose servers are gone."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(FOLDER):
            if name.endswith(".tunnelmigrate.dest." + domain):
                os.unlink(os.path.join(FOLDER, name))
