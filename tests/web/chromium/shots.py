"""Screenshots of every page for eyes: `python -m tests.web.chromium.shots FOLDER [WORD…]`.

Light, dark and on a phone; a well, a broken and an empty estate, one that has gone silent and one
whose loop is gone. With words, those whose name holds one of them.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser

from tests.web.browser import chromium
from tests.web.chromium.pages import MODES, PATHS, opened
from tests.web.played import Scene, broken, play, served, talk, well


@contextmanager
def estate(folder: Path, scene: Scene | None, later_s: float = 0.0) -> Iterator[str]:
    """Serve an estate after a scene; without one no loop has ever run."""
    path = folder / "state.db"
    at = play(path, talk(), scene) + later_s if scene else 0.0
    with served(path, lambda: at) as url:
        yield url


def main(out: Path, words: list[str]) -> None:
    """Take all, or those whose name holds a word."""
    out.mkdir(parents=True, exist_ok=True)
    with chromium() as browser, TemporaryDirectory() as name, ExitStack() as open_:
        def url(kind: str, scene: Scene | None, later_s: float = 0.0) -> str:
            """Serve an estate until all is done."""
            folder = Path(name) / kind
            folder.mkdir()
            return open_.enter_context(estate(folder, scene, later_s))
        urls = {"broken": url("broken", broken), "well": url("well", well),
                "empty": url("empty", None), "dead": url("dead", well, 7200.0)}
        for kind, base in urls.items():
            for page, path in PATHS.items():
                if kind == "broken" or page in {"desk", "vm"}:
                    for mode in MODES:
                        shot = f"{kind}-{page}-{mode}"
                        if not words or any(word in shot for word in words):
                            take(browser, base + path, mode, out / f"{shot}.png")
        for mode in MODES:
            if not words or any(word in f"silent-desk-{mode}" for word in words):
                take(browser, urls["broken"], mode, out / f"silent-desk-{mode}.png", silent=True)


def take(browser: Browser, url: str, mode: str, path: Path, *, silent: bool = False) -> None:
    """Take one, of the whole page on a phone; no page may scroll sideways."""
    with opened(browser, url, mode) as page:
        if silent:
            page.context.set_offline(True)
            page.wait_for_selector(".stale", timeout=40_000)
        page.wait_for_timeout(400)
        page.screenshot(path=path, full_page=mode == "phone")
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), path.name


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
