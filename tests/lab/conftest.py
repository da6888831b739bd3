"""Bring the lab up for the tests that need it, or say aloud why they are skipped."""

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.lab.hotsite import Hotsite
from tests.lab.lab import COMMAND, STATE, Lab, wait_until
from tests.lab.witness import last_number

HERE = Path(__file__).parent
UNDER_TEST = STATE / "under-test"
"""Is there while tests use the lab, and stays when they are killed."""
HOMES = {"sql": "paris-1", "web": "paris-1", "mail": "paris-2", "files": "milan-1",
         "proxy": "milan-1", "builder": "milan-2"}
"""Where placement puts each guest of the specs on an empty lab."""


@cache
def obstacle() -> str:
    """Return why this machine cannot carry the lab, or nothing."""
    if sys.platform != "linux":
        return "the lab needs Linux"
    done = subprocess.run([str(COMMAND), "check"], capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


def rank(item: pytest.Item) -> int:
    """Return when a test's module is due: those that rebuild the lab come first and last.

    Every order works; in this one all the others find its guests booted.
    """
    return {"test_from_nothing": -1, "test_lab": 1}.get(item.path.stem, 0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, and skip it with the reason where there is one."""
    items.sort(key=rank)
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.lab)
            if obstacle():
                item.add_marker(pytest.mark.skip(reason=obstacle()))


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Bring the lab up unless it is, and leave it as it was found: up or down.

    What a test run leaves that was killed may be broken in any way: it is taken down first.
    """
    the_lab = Lab()
    if UNDER_TEST.exists():
        the_lab.down()
    was_up = (STATE / "standing").exists()
    the_lab.up()
    UNDER_TEST.touch()
    yield the_lab
    if not was_up:
        the_lab.down()
    UNDER_TEST.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def fresh_lab(lab: Lab) -> Lab:
    """Rebuild the lab, so that a module of tests finds empty hosts and open trunks."""
    lab.down()
    lab.up()
    return lab


@pytest.fixture(scope="module")
def converged(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Bring the lab to what its specs say, every guest booted and in its usual place."""
    hotsite = Hotsite(tmp_path_factory.mktemp("converged"))
    for vm, host in HOMES.items():
        hotsite.pin(vm, host)
    hotsite.converge()
    wait_until("a record of every guest, all of which may boot at once",
               lambda: all(last_number(host, vm) for vm, host in HOMES.items()), 90)
    return lab
