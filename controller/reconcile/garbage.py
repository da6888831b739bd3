"""Memory: what lives long is taken out of the garbage collector's rounds."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from controller.model.desired import Desired

LARGE: Final = 1000
"""From so many VMs on, walking the specs at every full collection is what a decision waits for."""


def rest(desired: Desired) -> None:
    """Let the collector walk `desired`, which stays until the next revision, no more.

    Source: https://docs.python.org/3/library/gc.html#gc.freeze
    """
    if len(desired.virtual_machines) >= LARGE:
        gc.unfreeze()
        gc.collect()
        gc.freeze()


@contextmanager
def gc_paused() -> Iterator[None]:
    """Keep the collector from walking all facts in the middle of a decision, which makes no cycles.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
