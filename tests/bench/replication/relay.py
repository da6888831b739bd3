"""A path with a delay: relay.py SECONDS PORT ADDRESS PORT [BPS], run by the host's own Python.

Each direction of a connection is held for SECONDS, and carries BPS bits a second; without BPS how
much is under way is not limited. All of it moves at the ticks of one clock, in large pieces, so
that the relay takes little of the processors that the streams need.
"""

import collections
import contextlib
import socket
import sys
import time

AT_ONCE = 4 << 20
TICK_S = 0.002
QUEUED_S = 0.05


class Direction:
    """What goes one way, and when it may arrive."""

    def __init__(self, source: socket.socket, target: socket.socket, delay_s: float,
                 rate_bps: float) -> None:
        self.source, self.target, self.delay_s = source, target, delay_s
        self.rate_bps, self.free_at_s = rate_bps, 0.0
        self.held: collections.deque[tuple[float, memoryview]] = collections.deque()
        self.is_open = True
        self.ended = False

    def move(self, now_s: float) -> None:
        """Take what has come, and give what is due."""
        if self.is_open:
            self._take(now_s)
        try:
            self._give(now_s)
        except BlockingIOError:
            return      # the rest at another tick
        except OSError:
            self.ended = True

    def _take(self, now_s: float) -> None:
        if self.rate_bps and self.free_at_s > now_s + QUEUED_S:
            return      # the router's queue is full, and whoever sends has to wait
        try:
            data = self.source.recv(int(self.rate_bps * TICK_S) or AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.is_open = bool(data)
        self.free_at_s = max(self.free_at_s, now_s)
        if self.rate_bps:
            self.free_at_s += len(data) * 8 / self.rate_bps
        self.held.append((self.free_at_s + self.delay_s, memoryview(data)))

    def _give(self, now_s: float) -> None:
        while self.held and self.held[0][0] <= now_s and not self.ended:
            due_s, data = self.held[0]
            if not data:
                self.ended = True
                self.target.shutdown(socket.SHUT_WR)
                return
            sent = self.target.send(data)
            if sent < len(data):
                self.held[0] = due_s, data[sent:]
                return
            self.held.popleft()


def connect(near: socket.socket, address: tuple[str, int], delay_s: float,
            rate_bps: float) -> list[Direction]:
    """Return both directions of a new connection."""
    far = socket.create_connection(address)
    for end in (near, far):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.setblocking(False)
    return [Direction(near, far, delay_s, rate_bps), Direction(far, near, delay_s, rate_bps)]


def serve(delay_s: float, port: int, address: tuple[str, int], rate_bps: float) -> None:
    """Relay every connection until the program is ended."""
    listening = socket.create_server(("127.0.0.1", port), backlog=64)
    listening.setblocking(False)
    ways: list[list[Direction]] = []
    while True:
        began_s = time.monotonic()
        with contextlib.suppress(BlockingIOError):
            ways.append(connect(listening.accept()[0], address, delay_s,
                                rate_bps))
        for pair in ways:
            for way in pair:
                way.move(began_s)
        for pair in [pair for pair in ways if all(way.ended for way in pair)]:
            pair[0].source.close()
            pair[0].target.close()
            ways.remove(pair)
        time.sleep(max(0.0, began_s + TICK_S - time.monotonic()))


if __name__ == "__main__":
    serve(float(sys.argv[1]), int(sys.argv[2]), (sys.argv[3], int(sys.argv[4])),
          float((sys.argv[5:] or ["0"])[0]))
