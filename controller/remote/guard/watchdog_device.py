"""
The watchdog device that the spec names, and no other: fed no more, it resets the host.

It is opened at the first grant, since a host that was never granted must not be reset, and then fed
for ever: closing it without the magic letter leaves it running, and the next guard opens it and
feeds on. In a lab it is a FIFO, whose reader cuts the power.

The time after which it fires is set to what was promised; a device that takes another is shown.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
from typing import Optional, Tuple

from guard.page import WATCHDOGS

GET_SUPPORT = 0x80285700        # linux/watchdog.h: WDIOC_GETSUPPORT, SETTIMEOUT, GETTIMEOUT
SET_TIMEOUT = 0xC0045706
GET_TIMEOUT = 0x80045707
INFO = struct.Struct("=II32s")
SOFTWARE = "Software Watchdog"
OPEN_S = 0.2                    # between two tries


class WatchdogDevice:
    """One device, by its path; without one nothing is fed."""

    def __init__(self, path: Optional[str], timeout_s: float) -> None:
        self.path, self._timeout_s = path, timeout_s
        self._fd: Optional[int] = None
        self._tried_at: Optional[float] = None
        self.kind, self.identity, self.timeout_s = "none", "", 0.0
        self.fed_at = 0.0

    def open(self, now: float) -> None:
        """Open it unless it is open; one that is not there or is busy is tried again."""
        if self.path is None or self._fd is not None:
            return
        if self._tried_at is not None and now - self._tried_at < OPEN_S:
            return
        self._tried_at = now
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self.kind, self.identity = "missing", error.strerror or ""
            return
        try:
            self.kind, self.identity, self.timeout_s = look_at(fd, self._timeout_s)
            self._fd = fd
        except OSError as error:        # something else has this name
            self.kind, self.identity = "missing", error.strerror or ""
            os.close(fd)

    def feed(self, now: float, every_s: float) -> None:
        """Feed it if that is due."""
        if self._fd is None or now - self.fed_at < every_s:
            return
        try:
            os.write(self._fd, b"\0")
            self.fed_at = now
        except BlockingIOError:
            self.fed_at = now           # a reader that does not read has its food before it
        except OSError:                 # the reader of a FIFO is gone: open it again
            os.close(self._fd)
            self._fd = None

    def wave(self) -> None:
        """Stop it in good order: there is no guard from now on, and everybody knows."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.write(self._fd, b"V")
            os.close(self._fd)
            self._fd = None


def look_at(fd: int, timeout_s: float) -> "Tuple[str, str, float]":
    """Return what an open device is, its name, and after which time it fires."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISFIFO(mode):
        return "fifo", "FIFO", timeout_s
    if not stat.S_ISCHR(mode):
        raise OSError(None, "it is no watchdog device")
    identity = parse_identity(fcntl.ioctl(fd, GET_SUPPORT, bytes(INFO.size)))
    with contextlib.suppress(OSError):
        fcntl.ioctl(fd, SET_TIMEOUT, struct.pack("=i", int(timeout_s)))
    takes = struct.unpack("=i", fcntl.ioctl(fd, GET_TIMEOUT, bytes(4)))[0]
    return kind_of(identity), identity, float(takes)


def parse_identity(info: bytes) -> str:
    """Return the name in what the driver says of itself."""
    return bytes(INFO.unpack(info)[2]).split(b"\0")[0].decode("ascii", "replace")


def kind_of(identity: str) -> str:
    """Return `software` for the kernel's own timer, which dies with the kernel."""
    return "software" if identity == SOFTWARE else "hardware"


def number_of(kind: str) -> int:
    """Return a kind as the page keeps it."""
    return WATCHDOGS.index(kind)
