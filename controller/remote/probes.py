"""Look at places, several at once and each with a limit: a dead file system blocks readers.

A thread that waits for a dead file system cannot be ended. So each probe runs in a thread of its
own, and a place whose last probe still hangs gets no second one.
"""

import threading
import time
from typing import Any, Callable

from programs import NoAnswer

PROBE_S = 1.0           # for all probes that begin together


class Probe:
    """One probe, under way in a thread."""

    def __init__(self, probe: "Callable[[], Any]") -> None:
        self.result, self.failure, self.probe = None, None, probe
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        """Look, and store the result."""
        try:
            self.result = self.probe()
        except BaseException as failure:  # raised again where somebody waits for the result
            self.failure = failure


class Probes:
    """Runs probes and remembers those that hang; `hangs` says what is the matter then."""

    def __init__(self, limit_s: float = PROBE_S, hangs: str = "its file system hangs") -> None:
        self.hanging, self.limit_s, self.hangs = {}, limit_s, hangs     # place -> Probe

    def run(self, probes: dict) -> dict:
        """Return the result of each probe (place -> function); NoAnswer if it failed or hangs."""
        until = time.monotonic() + self.limit_s
        self.hanging = {place: probe for place, probe in self.hanging.items()
                        if probe.thread.is_alive()}
        begun = {place: Probe(look) for place, look in probes.items() if place not in self.hanging}
        results = {}
        for place in probes:
            probe = begun.get(place)
            if probe is not None:
                probe.thread.join(max(0.0, until - time.monotonic()))
            if probe is None or probe.thread.is_alive():
                self.hanging[place] = probe or self.hanging[place]
                results[place] = NoAnswer(f"{place[-1]} does not answer: {self.hangs}")
            elif isinstance(probe.failure, OSError):
                results[place] = NoAnswer(f"{probe.failure.filename or place[-1]} cannot be read:"
                                          f" {probe.failure.strerror}")
            elif isinstance(probe.failure, Exception) and not isinstance(probe.failure, NoAnswer):
                results[place] = NoAnswer(f"{place[-1]} holds what nobody has thought of"
                                          f" ({probe.failure!r}): report this")
            else:
                results[place] = probe.failure or probe.result
        return results
