"""Storms begin when the tests do, on what the lab's tests leave of the processors."""

import pytest

from tests.simulation.background import Background, Lawless, storms_of_the_loop

NEEDED_BY = "test_every_law_is_kept_in_every_storm"
BLOWING = pytest.StashKey[Background[Lawless]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin, where the storms are asked for at all."""
    if not session.config.option.collectonly and any(
            item.name == NEEDED_BY for item in session.items):
        session.config.stash[BLOWING] = storms_of_the_loop()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End also when the tests ended early."""
    if BLOWING in session.config.stash:
        session.config.stash[BLOWING].end()


@pytest.fixture
def storms(pytestconfig: pytest.Config) -> Background[Lawless]:
    """The storms that have raged since the tests began."""
    return pytestconfig.stash[BLOWING]
