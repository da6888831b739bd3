"""`hotsite run` tells people: what breaks, and that it is over, to a real HTTP server."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from shutil import copytree

import pytest

from tests.cli.shell import SPECS, Shell
from tests.cli.test_run import converged, running, until
from tests.providers.notify.sinks import Sink, http_sink

NOTIFY = """
  autonomy: report
  notify:
    group: 0s
    interval: 0s
    hold: 0s
    receivers:
      - name: oncall
        severity: page
        webhook: {url: "URL"}
"""


def strike(shell: Shell, word: str) -> None:
    """Have something happen to the world."""
    assert shell.estate is not None
    shell.estate.command(word)


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    """The lab's specs, to be edited."""
    return Path(copytree(SPECS, tmp_path / "specs"))


def tell(specs: Path, url: str) -> None:
    """Declare a receiver."""
    path = next(path for path in specs.rglob("*.yaml") if "kind: Estate" in path.read_text())
    lines = [line for line in path.read_text().splitlines() if "autonomy:" not in line]
    at = lines.index("spec:") + 1
    path.write_text("\n".join((*lines[:at], NOTIFY.strip("\n").replace("URL", url), *lines[at:])))


def play(tmp_path: Path, specs: Path,
         scene: Callable[[Sink, Shell], Awaitable[None]]) -> None:
    """Run a scene beside a loop that tells an HTTP server."""
    shell = Shell(tmp_path / "state", converged)

    async def act() -> None:
        async with http_sink() as sink:
            tell(specs, sink.url)
            async with running(shell, specs):
                await scene(sink, shell)

    asyncio.run(act())


def test_what_breaks_and_its_end_arrive(tmp_path: Path, specs: Path) -> None:
    async def scene(sink: Sink, shell: Shell) -> None:
        strike(shell, "kill paris-1 sql")
        await until(lambda: len(sink.requests) >= 1)
        first = sink.requests[0].content
        assert (first["status"], first["severity"]) == ("firing", "page")
        assert first["subject"].startswith("PAGE: sql is down")
        strike(shell, "start paris-1 sql")
        await until(lambda: len(sink.requests) >= 2)
        assert sink.requests[1].content["status"] == "resolved"
        assert sink.requests[0].headers["idempotency-key"] == first["id"]

    play(tmp_path, specs, scene)
