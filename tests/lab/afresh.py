"""Let nobody inherit a failure: after a test that failed, the next begins from nothing.

What a failed test leaves may be broken in any way. So all that was set up is taken down with it,
the lab too, and whoever comes next sets up anew what it needs.
"""

from collections.abc import Generator

import pytest

LIMIT = 6
"""So often: where more fail, something is wrong with all, and no rebuilding helps."""
FAILED = pytest.StashKey[bool]()
TIMES = pytest.StashKey[int]()


def begins_anew(session: pytest.Session) -> bool:
    """Say whether something has failed before, so that nothing that is there can be trusted."""
    return session.stash.get(TIMES, 0) > 0


def take_down(session: pytest.Session) -> None:
    """Take down all that any test has set up, whatever the next one could still use."""
    session.stash[TIMES] = times = session.stash.get(TIMES, 0) + 1
    if times <= LIMIT:
        session._setupstate.teardown_exact(None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
        item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note that a test, or what it needs, has failed."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Take down everything after a failure, be it of the taking down."""
    if item.stash.get(FAILED, False):
        take_down(item.session)
    well = False
    try:
        yield
        well = True
    finally:
        if not well:
            take_down(item.session)
