"""WCAG 2.2 A and AA, by axe-core, on every page, in light, dark and on a phone."""

import hashlib
import tomllib
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.web.chromium.pages import MODES, PATHS, opened

FOLDER = Path(__file__).parent / "axe"
AXE = (FOLDER / "axe.min.js").read_text()
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"]
RUN = """(tags) => axe.run(document, { runOnly: { type: "tag", values: tags },
    rules: { "target-size": { enabled: true } }, resultTypes: ["violations"] })"""


def violations(page: Page) -> list[str]:
    """Return what axe finds, as rule and place."""
    page.evaluate(AXE)
    found: dict[str, Any] = page.evaluate(RUN, WCAG)
    return [f"{one['id']}: {node['html']}: {node['failureSummary']}"
            for one in found["violations"] for node in one["nodes"]]


def test_axe_is_as_it_came() -> None:
    said = tomllib.loads((FOLDER / "VENDORED.toml").read_text())["axe"]
    assert hashlib.sha256((FOLDER / said["file"]).read_bytes()).hexdigest() == said["sha256"]
    assert (FOLDER / "axe.LICENSE").read_text().startswith("Mozilla Public License")


@pytest.mark.parametrize("mode", MODES)
def test_no_page_of_a_broken_estate_violates_wcag(browser: Browser, broken_estate: str,
                                                  mode: str) -> None:
    found = {}
    with opened(browser, broken_estate, mode) as page:
        for name, path in PATHS.items():
            page.goto(broken_estate + path)
            found[name] = violations(page)
    assert not any(found.values()), found


@pytest.mark.parametrize("mode", MODES)
def test_no_page_of_an_empty_estate_violates_wcag(browser: Browser, empty_estate: str,
                                                  mode: str) -> None:
    with opened(browser, empty_estate, mode) as page:
        assert violations(page) == []


def test_a_violation_is_found(browser: Browser, empty_estate: str) -> None:
    with opened(browser, empty_estate, "light") as page:
        page.evaluate("""() => document.querySelector("main").append(
            document.createElement("button"))""")
        assert any(one.startswith("button-name") for one in violations(page))
