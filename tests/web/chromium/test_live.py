"""The page in Chromium beside a real loop: what happens is seen, and silence is said.

Rule 1: no test waits for time to pass: the page's clock is put forward.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from controller.plan.survey.context import Suspension
from controller.source.load import load_folder
from controller.store.store import Store
from tests.web.played import Live, served

SPECS = Path(__file__).parents[3] / "specs"
SILENT = "This page has heard nothing for"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@contextmanager
def live(state: Path) -> Iterator[tuple[str, Live]]:
    """Keep a loop and its page going."""
    loop = Live(state, load_folder(SPECS, revision="r1"))
    with served(state, beside=loop.run) as url:
        yield url, loop


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    found = context.new_page()
    found.clock.install()
    errors: list[str] = []
    found.on("pageerror", lambda one: errors.append(str(one)))
    yield found
    context.close()
    assert errors == []


@pytest.mark.skipif(not os.environ.get("SOAK"), reason="the browser's played clock takes the time"
                    " origin away on a busy machine: SOAK=1")
def test_what_the_loop_does_is_seen_and_silence_turns_the_page_grey(state: Path,
                                                                    page: Page) -> None:
    with live(state) as (url, loop):
        page.goto(url)
        expect(page.locator(".machines .row").first).to_be_visible()
        expect(page.locator("#alive")).to_contain_text("live")
        loop.strike("kill any sql")
        expect(page.locator("#events")).to_contain_text("sql started")
        expect(page.locator("body")).not_to_have_class("stale")
        page.context.set_offline(True)
        page.clock.fast_forward(16_000)
        expect(page.locator("#silent")).to_contain_text(SILENT)
        expect(page.locator("body")).to_have_class("stale")
        assert page.locator("main").evaluate("one => getComputedStyle(one).filter") == (
            "grayscale(1)")
        page.context.set_offline(False)
        expect(page.locator("body")).not_to_have_class("stale")
        expect(page.locator("#silent")).to_be_hidden()


def test_a_browser_that_slept_asks_for_what_it_missed_and_no_more(state: Path,
                                                                  page: Page) -> None:
    with live(state) as (url, _):
        page.goto(url)
        expect(page.locator(".machines .row").first).to_be_visible()
        turn(page, hidden=True)
        with Store.open(state) as store:
            store.suspend(Suspension("VirtualMachine/sql", "ann", "the vendor is here",
                                     time.time() + 3600))
        page.clock.fast_forward(7200_000)
        with page.expect_request(lambda one: "/stream" in one.url) as asked:
            turn(page, hidden=False)
        assert "since=" in asked.value.url, "it says what it knows"
        expect(page.locator("#suspended")).to_contain_text("the vendor is here")
        expect(page.locator(".machines .row").first).to_be_visible()
        expect(page.locator("body")).not_to_have_class("stale")


def turn(page: Page, *, hidden: bool) -> None:
    """Hide the tab, or show it again."""
    page.evaluate("""(hidden) => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }""", hidden)
