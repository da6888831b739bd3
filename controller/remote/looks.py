"""Looks at files, several at once and each with a limit: a dead file system holds whoever looks."""

import threading
import time
from typing import Any, Callable

from programs import Silent

LOOK_S = 1.0            # for all looks that begin at once


class Look:
    """One look under way in a thread of its own; nothing can end it but the file system."""

    def __init__(self, look: "Callable[[], Any]") -> None:
        self.result, self.trouble, self.look = None, None, look
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        """Look, and keep what is seen."""
        try:
            self.result = self.look()
        except BaseException as trouble:  # it is raised where somebody waits for it
            self.trouble = trouble


class Looks:
    """Knows which places hang: there is never more than one look at each of those."""

    def __init__(self) -> None:
        self.hanging = {}   # place -> Look

    def at(self, looks: dict) -> dict:
        """Return what each look (place -> function) saw; Silent of one that failed or hangs."""
        until = time.monotonic() + LOOK_S
        self.hanging = {place: look for place, look in self.hanging.items()
                        if look.thread.is_alive()}
        begun = {place: Look(look) for place, look in looks.items() if place not in self.hanging}
        seen = {}
        for place in looks:
            look = begun.get(place)
            if look is not None:
                look.thread.join(max(0.0, until - time.monotonic()))
            if look is None or look.thread.is_alive():
                self.hanging[place] = look or self.hanging[place]
                seen[place] = Silent(f"{place[-1]} does not answer: its file system hangs")
            elif isinstance(look.trouble, OSError):
                seen[place] = Silent(f"{look.trouble.filename or place[-1]} cannot be read:"
                                     f" {look.trouble.strerror}")
            elif isinstance(look.trouble, Exception) and not isinstance(look.trouble, Silent):
                seen[place] = Silent(f"{place[-1]} holds what nobody has thought of"
                                     f" ({look.trouble!r}): report this")
            else:
                seen[place] = look.trouble or look.result
        return seen
