"""A browser for the tests that need one; without Chromium they are skipped."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.web.browser import ABSENT, CHROMIUM, chromium
from tests.web.played import broken, play, served, talk

LIMIT_S = 120
"""How long anything may take on the screen; as a bound, and not as a figure."""
expect.set_options(timeout=1000 * LIMIT_S)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium; it ends with its module, since it keeps an event loop running in this thread."""
    if CHROMIUM is None:
        pytest.skip(ABSENT)
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def broken_estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The talk's estate with a bit of everything that goes wrong; the address of its page."""
    path = tmp_path_factory.mktemp("broken") / "state.db"
    at = play(path, talk(), broken)
    with served(path, lambda: at) as url:
        yield url


@pytest.fixture(scope="session")
def empty_estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A state folder that no loop has ever used; the address of its page."""
    with served(tmp_path_factory.mktemp("empty") / "state.db") as url:
        yield url
