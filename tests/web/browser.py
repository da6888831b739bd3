"""A real Chromium for tests: Debian's, without a window, driven by Playwright.

Nothing is fetched by it: the browsers that Playwright would bring are never installed.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from playwright.sync_api import Browser, sync_playwright

CHROMIUM: Final = shutil.which("chromium")
ABSENT: Final = "chromium is not installed: the page is not seen in a browser"
WORDS: Final = ("--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
                *(("--no-sandbox",) if os.geteuid() == 0 else ()))


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser, and end it with the block."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(WORDS))
        try:
            yield browser
        finally:
            browser.close()
