"""The main page over 5,000 VMs in Chromium: how soon it is there, and what it costs to keep open.

Each load has a new browser context, so nothing is cached. The rows count as there when the first
list holds them and a frame was drawn after that. What it costs is taken of the whole renderer
process, which does nothing but this page.
"""

import time
from typing import Any

from playwright.sync_api import Browser, Page

from tests.bench.desk.served import Served, cpu_s, private_mib
from tests.bench.figure import Figure

LOADS = 9
WATCHES, WATCH_S = 3, 20.0
LIMIT_MS = 120_000
SIZE: Any = {"width": 1440, "height": 900}
SLOW = {"offline": False, "latency": 60, "downloadThroughput": 250_000, "uploadThroughput": 250_000}
"""2 Mbit/s each way, 60 ms there and back."""
NOTED = """
(() => {
  const look = () => {
    if (!document.querySelector(".machines .row")) return;
    seeing.disconnect();
    requestAnimationFrame(() => setTimeout(() => { window.rowsAt = performance.now(); }));
  };
  const seeing = new MutationObserver(look);
  seeing.observe(document, { childList: true, subtree: true });
})();
"""
PAINTED = 'performance.getEntriesByName("first-contentful-paint")[0]?.startTime'


def figures(browser: Browser, served: Served) -> list[Figure]:
    """Return what was measured of the page."""
    fast = [load(browser, served.url, slow=False) for _ in range(LOADS)]
    slow = [load(browser, served.url, slow=True) for _ in range(LOADS)]
    open_for = [watch(browser, served) for _ in range(WATCHES)]
    return [
        Figure("first paint, 5,000 VMs", "ms", tuple(one[0] for one in fast), limit=500),
        Figure("rows there", "ms", tuple(one[1] for one in fast), limit=1000),
        Figure("first paint at 2 Mbit/s", "ms", tuple(one[0] for one in slow), limit=500),
        Figure("rows there at 2 Mbit/s", "ms", tuple(one[1] for one in slow), limit=2000),
        Figure("DOM nodes, text and all", "", tuple(one["nodes"] for one in open_for), limit=2500),
        Figure("JS heap", "MiB", tuple(one["heap"] for one in open_for), limit=80),
        Figure("the renderer's own memory", "MiB", tuple(one["private"] for one in open_for),
               limit=80),
        Figure("an open page, 72 changes/s", "% core", tuple(one["cpu"] for one in open_for),
               limit=5, note="the whole renderer process"),
        Figure("an open page, scripts and layout", "% core",
               tuple(one["task"] for one in open_for), note="its main thread")]


def load(browser: Browser, url: str, *, slow: bool) -> tuple[float, float]:
    """Return after how many milliseconds of a cold load the first paint and the rows were there."""
    context = browser.new_context(viewport=SIZE)
    context.set_default_timeout(LIMIT_MS)
    try:
        page = context.new_page()
        if slow:
            network = context.new_cdp_session(page)
            network.send("Network.enable")
            network.send("Network.emulateNetworkConditions", SLOW)
        page.add_init_script(NOTED)
        page.goto(url, wait_until="commit")
        page.wait_for_function("() => window.rowsAt")
        page.wait_for_function(f"() => {PAINTED}")
        return page.evaluate(PAINTED), page.evaluate("window.rowsAt")
    finally:
        context.close()


def watch(browser: Browser, served: Served) -> dict[str, float]:
    """Return what one page costs that is open while rows change."""
    context = browser.new_context(viewport=SIZE)
    context.set_default_timeout(LIMIT_MS)
    try:
        page = context.new_page()
        page.goto(served.url)
        page.wait_for_selector(".machines .row")
        time.sleep(3)
        told = context.new_cdp_session(page)
        told.send("Performance.enable")
        pid = renderer_of(browser)
        before, before_s, began = metrics(told), cpu_s(pid), time.monotonic()
        time.sleep(WATCH_S)
        after, after_s, took_s = metrics(told), cpu_s(pid), time.monotonic() - began
        private = private_mib(pid)
        told.send("HeapProfiler.collectGarbage")
        settled = metrics(told)
        heard(page)
        return {"nodes": settled["Nodes"], "heap": after["JSHeapUsedSize"] / (1 << 20),
                "private": private, "cpu": 100 * (after_s - before_s) / took_s,
                "task": 100 * (after["TaskDuration"] - before["TaskDuration"]) / took_s}
    finally:
        context.close()


def heard(page: Page) -> None:
    """Check that the page was live all the time: one that heard nothing costs nothing."""
    assert not page.evaluate('document.body.classList.contains("stale")')
    assert page.evaluate('document.getElementById("silent").hidden')


def metrics(told: Any) -> dict[str, float]:
    """Return what Chromium counts of a page."""
    return {one["name"]: one["value"] for one in told.send("Performance.getMetrics")["metrics"]}


def renderer_of(browser: Browser) -> int:
    """Return the process of the one page that is open: the renderer that was busiest."""
    session = browser.new_browser_cdp_session()
    try:
        found = session.send("SystemInfo.getProcessInfo")["processInfo"]
        return int(max((one for one in found if one["type"] == "renderer"),
                       key=lambda one: one["cpuTime"])["id"])
    finally:
        session.detach()
