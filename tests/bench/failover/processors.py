"""Whose the processor time of this machine was: the guests', or everything else's."""

import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

EVERY_S = 0.25
TICKS = os.sysconf("SC_CLK_TCK")
GUEST = b"qemu-system"


class Sample(NamedTuple):
    """Processor seconds that were taken until an instant."""

    at: float
    guests: float
    total: float


class Processors:
    """Notes processor times while a block lasts."""

    def __init__(self) -> None:
        self._samples: list[Sample] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._note)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def between(self, begin_at: float, end_at: float) -> tuple[float, float]:
        """Return what guests took between two instants, and what everything else took."""
        first, last = self._at(begin_at), self._at(end_at)
        guests = last.guests - first.guests
        return guests, last.total - first.total - guests

    def _at(self, at: float) -> Sample:
        """Return the sample that is nearest to an instant."""
        return min(self._samples, key=lambda one: abs(one.at - at))

    def _note(self) -> None:
        gone, before = 0.0, dict[str, float]()
        while not self._ended.is_set():
            now = dict(guests())
            gone += sum(taken for pid, taken in before.items() if pid not in now)
            before = now
            self._samples.append(Sample(time.time(), gone + sum(now.values()), machine()))
            self._ended.wait(EVERY_S)


def guests() -> list[tuple[str, float]]:
    """Return the process of each guest, and the processor seconds that it has taken."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (folder / "stat").read_bytes().rpartition(b")")
        except OSError:
            continue    # it has ended
        if GUEST in name:
            fields = rest.split()
            found.append((folder.name, (int(fields[11]) + int(fields[12])) / TICKS))
    return found


def machine() -> float:
    """Return the processor seconds that everything on this machine has taken."""
    first = Path("/proc/stat").read_text().partition("\n")[0].split()
    user, nice, system, _idle, _waiting, *others = map(int, first[1:9])
    return (user + nice + system + sum(others[:2])) / TICKS
