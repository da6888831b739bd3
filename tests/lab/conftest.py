"""Bring the lab up for the tests that need it, or say why they are skipped."""

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.lab.afresh import (  # noqa: F401  # two of them are found here by pytest
    begins_anew,
    pytest_runtest_makereport,
    pytest_runtest_teardown,
)
from tests.lab.lab import COMMAND, STATE, Lab
from tests.lab.ready import make_ready, rebuild

HERE = Path(__file__).parent
UNDER_TEST = STATE / "under-test"
"""Is there while tests use the lab, and stays when they are killed."""


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
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Bring the lab up unless it is, and leave it as it was found: up or down.

    What a killed or failed test leaves may be broken in any way: it is taken down first.
    """
    the_lab = Lab()
    if UNDER_TEST.exists() or begins_anew(request.session):
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
    rebuild(lab)
    return lab


@pytest.fixture(scope="module")
def converged(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Bring the lab to what its specs say, every guest booted and in its usual place."""
    make_ready(lab, tmp_path_factory.mktemp("converged"))
    return lab
