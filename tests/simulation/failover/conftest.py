"""Storms begin when the tests do, on what the other tests leave of the processors."""

import pytest

from tests.simulation.background import Background
from tests.simulation.failover.background import Passed, storms_of_failover

NEEDED_BY = "test_every_law_of_failover_is_kept_in_every_storm"
BLOWING = pytest.StashKey[Background[Passed]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin, where the storms are asked for at all; each worker of xdist collects them, too."""
    config = session.config
    if not config.option.collectonly and any(item.name == NEEDED_BY for item in session.items):
        config.stash[BLOWING] = storms_of_failover()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End also when the tests ended early."""
    if BLOWING in session.config.stash:
        session.config.stash[BLOWING].end()


@pytest.fixture
def storms(pytestconfig: pytest.Config) -> Background[Passed]:
    """The storms that have raged since the tests began."""
    return pytestconfig.stash[BLOWING]
