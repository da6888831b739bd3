"""
Our lines in a file that other programs write, too; their lines are never touched.

The file is never rewritten as a whole: a line that somebody appends meanwhile would be lost. A line
of ours is removed by overwriting it with a comment of the same length, a free place for the next.
Only bytes that were compared immediately before are overwritten, in the file that has the name now.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import Callable, Iterator, List, NamedTuple

from mover.errors import Refused, TryAgain

FREE = b"# a free place for a one-time key of hotsite"
PLACE_BYTES = 256           # places come in steps of it, so that one fits the next
MOST_BYTES = 16 << 20
TRIES = 5                   # for a file that others replace while it is written to


class Line(NamedTuple):
    """One line of the file, with its line end, and where it begins."""

    at: int
    whole: bytes

    @property
    def text(self) -> str:
        """Return it as text, stripped."""
        return self.whole.decode("utf-8", "surrogateescape").strip()


def add(path: str, line: str) -> None:
    """Put a line into a free place, or at the end."""
    for _ in range(TRIES):
        with _opened(path) as fd:
            lines = _lines(fd)
            place = next((one for one in lines if one.whole.startswith(FREE)
                          and len(one.whole) > len(line.encode())), None)
            if place is None:
                # appended in one write, padded with blanks to a multiple of PLACE_BYTES
                gap = b"\n" if lines and not lines[-1].whole.endswith(b"\n") else b""
                whole = line.encode()
                width = -(-(len(whole) + 1) // PLACE_BYTES) * PLACE_BYTES - 1
                flags = fcntl.fcntl(fd, fcntl.F_GETFL)
                fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_APPEND)
                os.write(fd, gap + whole.ljust(width) + b"\n")
            elif not _write_over(fd, place, line.encode()):
                continue
        if any(one.text == line for one in read(path)):
            return
    raise TryAgain("%s is being rewritten by somebody else all the time" % path)


def take_out(path: str, unwanted: Callable[[str], bool]) -> int:
    """Remove the unwanted lines and return how many there were."""
    gone = 0
    for _ in range(TRIES):
        if not any(unwanted(one.text) for one in read(path)):
            return gone
        with _opened(path) as fd:
            gone += sum(_write_over(fd, one, FREE) for one in _lines(fd) if unwanted(one.text))
    raise TryAgain("%s is being rewritten by somebody else all the time" % path)


def read(path: str) -> List[Line]:
    """Return the lines; none where there is no file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return []
    try:
        return _lines(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def _lines(fd: int) -> List[Line]:
    """Return the lines of a file, which end at line feeds alone, as sshd reads them."""
    size = os.fstat(fd).st_size
    if size > MOST_BYTES:
        raise Refused("the file of keys has %d MiB: that is none" % (size >> 20))
    text, found, at = os.pread(fd, MOST_BYTES, 0), [], 0
    while at < len(text):
        end = text.find(b"\n", at) + 1 or len(text)
        found.append(Line(at, text[at:end]))
        at = end
    return found


def _write_over(fd: int, line: Line, text: bytes) -> bool:
    """Overwrite a line with a text no longer than it; return False if the line has changed.

    If the text is FREE and longer than the line, its beginning is written: a comment all the same.
    """
    end = b"\n" if line.whole.endswith(b"\n") else b""
    width = len(line.whole) - len(end)
    if os.pread(fd, len(line.whole), line.at) != line.whole:
        return False
    os.pwrite(fd, text[:width].ljust(width) + end, line.at)
    return True
