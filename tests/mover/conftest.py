"""The mover is sent to hosts as data: only its own tests put it where Python finds it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "controller" / "remote"))


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Wait for every virsh that a test, as a mover does, left to end by itself."""
    from mover.backup import virsh

    yield
    while virsh._left:
        virsh._left.pop().communicate()
