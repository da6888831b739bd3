"""Every program that begins and ends on this machine, as the kernel tells it: begin, end and argv.

The kernel's process events reach only the first namespaces, so this runs beside the bench, outside
of its namespaces: `python -m tests.bench.replication.profile.processes FILE` appends one line of
JSON to FILE for each program that ended, until it is terminated.

Source: linux/cn_proc.h, linux/connector.h.
"""

import json
import os
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

CONNECTOR: Final = 11               # NETLINK_CONNECTOR
LISTEN: Final = 1                   # PROC_CN_MCAST_LISTEN
FORK, EXEC, EXIT = 0x1, 0x2, 0x80000000
HEADERS: Final = 16 + 20            # of netlink and of the connector
BUFFER: Final = (33, 1 << 24)       # SO_RCVBUFFORCE, bytes
MOST_ARGV: Final = 400


def listen() -> socket.socket:
    """Return a socket that receives the events; OSError where the kernel has none of them."""
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, CONNECTOR)
    events.setsockopt(socket.SOL_SOCKET, *BUFFER)
    events.bind((0, 1))
    asked = struct.pack("=IIIIHHI", 1, 1, 0, 0, 4, 0, LISTEN)
    events.send(struct.pack("=IHHII", 16 + len(asked), 3, 0, 0, os.getpid()) + asked)
    return events


def network_of(pid: int) -> str:
    """Return the network namespace of a process, which tells hosts of the lab apart."""
    with suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    return ""


def argv_of(pid: int) -> list[str]:
    """Return the first words of a process; nothing when it has gone."""
    with suppress(OSError):
        said = Path(f"/proc/{pid}/cmdline").read_bytes()[:MOST_ARGV]
        return said.decode(errors="replace").rstrip("\0").split("\0")
    return []


def follow(events: socket.socket, out: Path) -> None:
    """Write a line for each process that ends, for ever."""
    alive: dict[int, dict[str, Any]] = {}
    with out.open("a") as file:
        while True:
            event = events.recv(1 << 16)[HEADERS:]
            kind, _, at_ns = struct.unpack("=IIQ", event[:16])
            ids = struct.unpack("=IIII", event[16:32].ljust(16, b"\0"))
            at_s = time.monotonic() if not at_ns else at_ns / 1e9
            if kind == FORK and ids[2] == ids[3]:       # a process, not a thread
                parent = alive.get(ids[1], {})
                alive[ids[3]] = {"pid": ids[3], "parent": ids[1], "from_s": at_s,
                                 "network": network_of(ids[3]),
                                 "argv": parent.get("argv", []), "forked": True}
            elif kind == EXEC:
                before = alive.get(ids[1], {"from_s": at_s, "parent": 0})
                alive[ids[1]] = {**before, "pid": ids[1], "network": network_of(ids[1]),
                                 "argv": argv_of(ids[1]), "forked": False}
            elif kind == EXIT and ids[0] == ids[1] and ids[1] in alive:
                json.dump({**alive.pop(ids[1]), "to_s": at_s}, file)
                file.write("\n")
                file.flush()


if __name__ == "__main__":
    follow(listen(), Path(sys.argv[1]))
