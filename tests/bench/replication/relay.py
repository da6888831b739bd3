"""A path with a delay: relay.py SECONDS PORT ADDRESS PORT, run by the host's own Python.

Each direction of a connection is held for SECONDS in a pipe of the kernel's; bytes are moved and
never copied, so that the relay takes little of the processors that the streams need. Every
connection has a process of its own.
"""

import collections
import fcntl
import os
import signal
import socket
import sys
import threading
import time

AT_ONCE = 1 << 20
UNDER_WAY_BYTES = 32 << 20
"""Of each pipe: more than any window of ssh's, in pieces of any size."""


class Direction:
    """What goes one way, and when it may arrive."""

    def __init__(self, source: socket.socket, target: socket.socket, delay_s: float) -> None:
        self.source, self.target, self.delay_s = source, target, delay_s
        self.out, self.into = os.pipe()
        fcntl.fcntl(self.into, fcntl.F_SETPIPE_SZ, UNDER_WAY_BYTES)
        self.held: collections.deque[tuple[float, int]] = collections.deque()
        self.changed = threading.Condition()
        self.threads = [threading.Thread(target=work) for work in (self.take, self.give)]
        for thread in self.threads:
            thread.start()

    def take(self) -> None:
        """Read until the end and note when each piece may arrive."""
        while True:
            try:
                count = os.splice(self.source.fileno(), self.into, AT_ONCE)
            except OSError:
                count = 0
            with self.changed:
                self.held.append((time.monotonic() + self.delay_s, count))
                self.changed.notify()
            if not count:
                return

    def give(self) -> None:
        """Write each piece when its time has come."""
        while True:
            with self.changed:
                while not self.held:
                    self.changed.wait()
                due_at, left = self.held.popleft()
            time.sleep(max(0.0, due_at - time.monotonic()))
            try:
                if not left:
                    return self.target.shutdown(socket.SHUT_WR)
                while left:
                    left -= os.splice(self.out, self.target.fileno(), left)
            except OSError:
                return None


def serve(delay_s: float, port: int, address: str, to_port: int) -> None:
    """Relay every connection until the program is ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listening = socket.create_server(("127.0.0.1", port), backlog=64)
    while True:
        near, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            far = socket.create_connection((address, to_port))
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ways = [Direction(near, far, delay_s), Direction(far, near, delay_s)]
            for way in ways:
                for thread in way.threads:
                    thread.join()
            os._exit(0)
        near.close()


if __name__ == "__main__":
    serve(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
