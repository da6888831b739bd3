"""Specs live long: on a large estate the garbage collector need not walk them again and again."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from controller.model.desired import Desired

LARGE: Final = 1000
"""From so many VMs on, full garbage collections over the specs delay every decision."""


def freeze_gc(desired: Desired) -> None:
    """Exempt a large `desired` from garbage collection until the next revision.

    Source: https://docs.python.org/3/library/gc.html#gc.freeze
    """
    if len(desired.virtual_machines) >= LARGE:
        gc.unfreeze()
        gc.collect()
        gc.freeze()


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause garbage collection during a decision, which makes no cycles and would wait for it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
