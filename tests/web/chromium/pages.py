"""Every page of the estate of the talk, and the ways in which it is looked at."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from playwright.sync_api import Browser, Page

MODES: Final[dict[str, dict[str, Any]]] = {
    "light": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light",
              "has_touch": True, "is_mobile": True, "device_scale_factor": 2},
}
PATHS: Final = {
    "desk": "", "vm": "vms/33par-mail", "vm-off": "vms/33par-ftp", "vm-suspended": "vms/33par-crm",
    "host": "hosts/33par-esx2", "host-silent": "hosts/33mil-esx4", "site": "sites/paris",
    "network": "networks/groupe", "switch": "switches/33mil-sw", "link": "links/metro",
    "sign-in": "sign-in", "act": "act?verb=suspend&target=VirtualMachine/33par-mail",
    "act-approve": "act?verb=approve&step=nothing", "lost": "vms/nobody",
}


@contextmanager
def opened(browser: Browser, url: str, mode: str) -> Iterator[Page]:
    """Open a page in a context of its own, and wait until it stands."""
    context = browser.new_context(**MODES[mode])
    try:
        context.set_default_timeout(120_000)
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda one: errors.append(str(one)))
        page.goto(url)
        settle(page)
        yield page
        assert errors == []
    finally:
        context.close()


def settle(page: Page) -> None:
    """Wait until the first rows are there, where there are to be any."""
    page.wait_for_function("""() => !document.getElementById("alive")
        || document.querySelector(".machines .row")
        || (document.getElementById("alive").textContent && !document.querySelector(".site"))""")
