"""What hosts and persons wrote is text on the page, whatever it looks like."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from controller.model.condition import Condition, ConditionType, Status
from controller.plan.survey.context import Suspension
from controller.store.store import Store
from tests.plan import builders as b
from tests.web.estates import estate, fill
from tests.web.played import served

EVIL = ("<img src=x onerror=alert(1)><b id=evil>\"'`&amp;\u202e\x1b[31m${alert(1)}<textarea>"
        "<script>")
NAME = f"VirtualMachine/{EVIL}"
MARKUP = "img, iframe, script:not([src]), #evil, textarea, [onerror], [onload], [style*=url]"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "state.db"
    with Store.open(path) as store:
        fill(store, estate())
        declared = store.declared()
        document = declared["VirtualMachine/sql"]
        content = {**document.content, "metadata": {"name": "sql", "labels": {"about": EVIL}}}
        store.save_declared(declared | {
            NAME: document, "VirtualMachine/sql": document._replace(content=content),
            f"Network/{EVIL}": declared["Network/office"]})
        bad = [Condition(target, ConditionType.READY, Status.FALSE, EVIL, EVIL, EVIL)
               for target in (NAME, "VirtualMachine/sql", f"Network/{EVIL}", "Host/paris-1")]
        store.save_conditions(tuple(bad), b.NOW_S)
        store.suspend(Suspension(NAME, EVIL, EVIL, b.NOW_S + 60))
        store.note("observed", NAME, EVIL, b.NOW_S)
        store.note("observed", "VirtualMachine/sql", EVIL, b.NOW_S)
        store.intend(f"start:{NAME}", EVIL, NAME, "paris-1", EVIL, EVIL, b.NOW_S)
        beat = store.status()
        assert beat is not None
        step = {"id": EVIL, "target": NAME, "symbol": EVIL, "verb": EVIL, "reason": EVIL,
                "content": EVIL, "consequence": EVIL, "nodes": [EVIL],
                "ruling": {"verdict": "needs approval", "sentence": EVIL, "clears": EVIL}}
        store.save_status(beat | {
            "source": {"good": True, "sentence": EVIL, "at": b.NOW_S}, "plan": beat["plan"] | {
                "steps": [step], "remarks": [{"target": NAME, "sentence": EVIL}],
                "predictions": [one | {"worst": one["worst"] and EVIL, "hindered": [
                    {"machine": EVIL, "outcome": "waits", "sentence": EVIL}]}
                    for one in beat["plan"]["predictions"]]}})
    with served(path, lambda: b.NOW_S) as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    found = context.new_page()
    said: list[str] = []
    found.on("dialog", lambda one: said.append(one.message))
    found.on("console", lambda one: said.append(one.text) if one.type == "error" else None)
    found.on("pageerror", lambda one: said.append(str(one)))
    yield found
    context.close()
    assert said == []


def test_no_word_of_others_becomes_markup_on_the_main_page(url: str, page: Page) -> None:
    page.goto(url)
    for place in ("#verdicts", "#strip", "#waits", "#runs", "#suspended", "#events",
                  ".machines .row", "header"):
        expect(page.locator(place, has_text="<img src=x onerror=alert(1)>").first).to_be_visible()
    assert page.locator(MARKUP).count() == 0


@pytest.mark.parametrize("path", [
    f"vms/{quote(EVIL, safe='')}", "vms/sql", f"networks/{quote(EVIL, safe='')}",
    f"act?verb=approve&step={quote(EVIL, safe='')}",
    f"act?verb=suspend&target={quote(NAME, safe='')}"])
def test_no_word_of_others_becomes_markup_on_a_page_of_its_own(url: str, page: Page,
                                                               path: str) -> None:
    page.goto(url + path)
    expect(page.locator("main", has_text="<img src=x onerror=alert(1)>").first).to_be_visible()
    assert page.locator(MARKUP).count() == 0


def test_no_word_of_others_becomes_markup_in_a_dialog(url: str, page: Page) -> None:
    page.goto(url)
    page.locator("#waits a[data-act]").first.click()
    expect(page.locator("dialog", has_text="<img src=x onerror=alert(1)>")).to_be_visible()
    assert page.locator(MARKUP).count() == 0
