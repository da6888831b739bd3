"""A real loop and the real page: how soon an event is on the screen, and a commit in a plan."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page

from controller.source.git.wake import LEAST_S, wake
from tests.bench.desk.served import served
from tests.bench.estates import write_estate
from tests.bench.figure import Figure
from tests.source.git.repository import Repository

VMS, HOSTS = 1000, 60
TALK = Path(__file__).parents[3] / "examples" / "talk-2007"
KILLED = ("33par-mail", "33par-dc1", "33par-dns1", "33par-files1", "33par-compta", "33par-odb",
          "33par-intrais")
COMMITS = 7
LIMIT_S = 120.0
SEEN = """
window.seen = {};
new MutationObserver((changes) => {
  const now = [...document.querySelectorAll("#events .event > :last-child")]
    .map((one) => one.textContent);
  requestAnimationFrame(() => setTimeout(() => {
    for (const text of now) window.seen[text] ??= Date.now() / 1000;
  }));
}).observe(document.getElementById("events"), { childList: true });
"""


class Looped:
    """A loop in a process of its own, and all that it has told."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.events: list[dict[str, str]] = []
        self._told = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._told:
                self.events.append(json.loads(line) | {"heard": time.time()})
                self._told.notify_all()

    def strike(self, fault: str) -> None:
        """Have a fault happen."""
        assert self.process.stdin is not None
        self.process.stdin.write(fault + "\n")
        self.process.stdin.flush()

    def wait(self, since: int, **fields: str) -> dict[str, str]:
        """Return the first event after the first `since` that has these fields."""
        def found() -> dict[str, str] | None:
            return next((one for one in self.events[since:]
                         if all(one.get(key) == value for key, value in fields.items())), None)
        with self._told:
            assert self._told.wait_for(found, LIMIT_S), (fields, self.events[since:])
            event = found()
            assert event is not None
            return event


@contextmanager
def looped(state: Path, source: str) -> Iterator[Looped]:
    """Run a loop until the block ends."""
    argv = [sys.executable, "-m", "tests.bench.desk.looped", str(state), source]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        loop = Looped(process)
        try:
            loop.wait(0, kind="plan")
            yield loop
        finally:
            assert process.stdin is not None
            process.stdin.close()


def figures(browser: Browser, folder: Path) -> list[Figure]:
    """Return what was measured of loop and page together."""
    return [Figure("loop event to screen, the talk's estate", "s", to_screen(browser, folder),
                   limit=1.0, note="from the event's own instant to the frame after it"),
            *to_plan(folder)]


def to_screen(browser: Browser, folder: Path) -> tuple[float, ...]:
    """Return how many seconds after an outcome its line was painted."""
    state, found = folder / "talk", []
    with looped(state, str(TALK)) as loop, served(state) as page_of:
        context = browser.new_context()
        page = context.new_page()
        page.goto(page_of.url)
        page.wait_for_selector(".machines .row")
        page.evaluate(SEEN)
        for name in KILLED:
            since = len(loop.events)
            loop.strike(f"kill any {name}")
            event = loop.wait(since, kind="outcome")
            found.append(painted(page, event["target"].partition("/")[2] + " "
                                 + event["sentence"]) - float(event["at"]))
        context.close()
    return tuple(found)


def painted(page: Page, text: str) -> float:
    """Return when a line was on the screen."""
    return page.wait_for_function("(text) => window.seen[text]", arg=text,
                                  timeout=1000 * LIMIT_S).json_value()


def to_plan(folder: Path) -> list[Figure]:
    """Return how soon a commit of 1,000 VMs is planned: told by a webhook, and as an edited folder.
    """
    bare, clone = folder / "estate.git", folder / "clone"
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", bare], check=True)
    write_estate(clone, HOSTS, VMS)
    repository = Repository(bare, clone)
    repository.git("init", "--quiet", "-b", "main")
    repository.git("remote", "add", "origin", str(bare))
    repository.commit_all()
    with looped(folder / "git", repository.address) as loop:
        by_git = [commit(loop, repository, folder / "git", number) for number in range(COMMITS)]
    with looped(folder / "folder", str(clone)) as loop:
        by_folder = [edit(loop, clone, number) for number in range(COMMITS)]
    return [
        Figure("webhook to plan, 1,000 VMs", "s", tuple(by_git), limit=2.0),
        Figure("edit of a folder to plan, 1,000 VMs", "s", tuple(by_folder), limit=2.0)]


def commit(loop: Looped, repository: Repository, state: Path, number: int) -> float:
    """Return how many seconds after the webhook of a commit the loop had planned it."""
    time.sleep(LEAST_S)     # the remote is looked at so seldom at most
    change(repository.clone, number)
    repository.commit_all()
    since, began = len(loop.events), time.time()
    wake(state)
    return planned_at(loop, since) - began


def edit(loop: Looped, clone: Path, number: int) -> float:
    """Return how many seconds after an edit the loop had planned it."""
    since, began = len(loop.events), time.time()
    change(clone, COMMITS + number)
    return planned_at(loop, since) - began


def change(clone: Path, number: int) -> None:
    """Change the memory of the first VM of a host's file, another one's each time."""
    path = clone / f"host-{number:04}.yaml"
    path.write_text(re.sub(r"(?m)^  memory: \d+GiB", "  memory: 12GiB", path.read_text(), count=1))


def planned_at(loop: Looped, since: int) -> float:
    """Return when the loop told of the first difference that a new revision made."""
    return float(loop.wait(since, kind="plan")["at"])
