"""Run a command inside a guest over its virtio channel, and return what it said."""

import os
import socket
from pathlib import Path

from layout import Node
from shell import LabError

PORT = "hotsite.lab"


def socket_path(host: Node, vm: str) -> Path:
    """Return the socket of a running guest's channel, as this machine sees it."""
    base = host.folder / "libvirt/qemu/channel/target"
    found = sorted(base.glob(f"domain-*-{vm[:20]}/{PORT}"), key=lambda p: p.stat().st_mtime)
    if not found:
        raise LabError(f"{vm} has no channel on {host.name}: is it running there?")
    return found[-1]


def ask(host: Node, vm: str, command: str, limit_s: float = 60) -> tuple[str, int]:
    """Return a command's output and exit status; LabError when the guest does not answer."""
    path = socket_path(host, vm)
    folder = os.open(path.parent, os.O_PATH)
    try:
        # a socket's path may have 107 characters: this one is always short enough
        return converse(f"/proc/self/fd/{folder}/{path.name}", command, limit_s)
    except OSError as error:
        raise LabError(f"{vm} on {host.name} did not answer: {error}") from error
    finally:
        os.close(folder)


def converse(path: str, command: str, limit_s: float) -> tuple[str, int]:
    """Send one line, and read until the line that carries the exit status."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(limit_s)
        line.connect(path)
        line.sendall(command.encode() + b"\n")
        heard = b""
        while True:
            piece = line.recv(65536)
            if not piece:
                raise LabError("the guest's channel was closed in the middle of an answer")
            heard += piece
            output, found, status = heard.rpartition(b"exit ")
            if found and status.endswith(b"\n") and (not output or output.endswith(b"\n")):
                return output.decode(errors="replace"), int(status)
