"""The first word of each guest of the lab, waited for at its channel.

A channel is opened as soon as its socket is there, which QEMU makes before the guest runs, and one
command is put into it. QEMU keeps that until the guest's system opens its end. So each guest is
asked once, and waiting for it takes no processor away from it.
"""

import os
import selectors
import socket
import time
from contextlib import suppress
from pathlib import Path

from tests.lab.lab import STATE

LOOK_S = 0.1
COMMAND = b"echo alive\n"
WORD = b"alive\n"


def first_words(names: list[str], hosts: list[str], patience_s: float) -> dict[str, float]:
    """Return by name when each guest first said a word, on whichever of the hosts it runs."""
    found: dict[str, float] = {}
    heard: dict[str, bytes] = {}
    until = time.monotonic() + patience_s
    with selectors.DefaultSelector() as selector:
        while len(found) < len(names) and time.monotonic() < until:
            for name in names:
                path = None if name in heard else _channel(name, hosts)
                line = None if path is None else _opened(path)
                if line is not None:
                    heard[name] = b""
                    selector.register(line, selectors.EVENT_READ, name)
            for key, _ in selector.select(LOOK_S):
                name, line = key.data, key.fileobj
                assert isinstance(line, socket.socket)
                piece = line.recv(4096)
                heard[name] += piece
                if WORD in heard[name]:
                    found[name] = time.time()
                if name in found or not piece:
                    selector.unregister(line)
                    line.close()
                if name not in found and not piece:
                    del heard[name]     # its QEMU has ended: the next one is asked anew
        for key in list(selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
    return found


def _channel(name: str, hosts: list[str]) -> Path | None:
    """Return the socket of a guest's channel, wherever its QEMU runs by now."""
    return next((path for host in hosts for path in (
        STATE / "nodes" / host / "libvirt/qemu/channel/target").glob(
            f"domain-*-{name}/hotsite.lab")), None)


def _opened(path: Path) -> socket.socket | None:
    """Return a channel with the command in it; None while nobody listens there."""
    folder = os.open(path.parent, os.O_PATH)
    line = socket.socket(socket.AF_UNIX)
    try:    # a socket's path may have 107 characters: this one is always short enough
        line.connect(f"/proc/self/fd/{folder}/{path.name}")
        line.sendall(COMMAND)
    except OSError:
        line.close()
        return None
    finally:
        with suppress(OSError):
            os.close(folder)
    return line
