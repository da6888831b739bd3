"""The guard is sent to hosts as data: only its own tests put it where Python finds it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guard.rig import Rig

sys.path.insert(0, str(Path(__file__).parents[2] / "controller" / "remote"))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A host and its grantors on loopback; whatever runs at the end is ended."""
    made = Rig(tmp_path)
    try:
        yield made
    finally:
        made.end()
