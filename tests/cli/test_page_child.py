"""`run --web`: the page as a child that is started again, and stopped with the loop."""

import asyncio
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller.cli.app import build
from controller.cli.page.child import NOT_UNDERSTOOD, argv_of, keep_page


def child(log: Path, then: str) -> list[str]:
    """A page that writes its pid to a file, a line each time it starts."""
    return [sys.executable, "-c", "import os, sys, signal\n"
            f"open({str(log)!r}, 'a').write(f'{{os.getpid()}}\\n')\n{then}"]


def pids(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def test_one_that_ends_is_started_again_and_stopped_with_the_loop(tmp_path: Path) -> None:
    log, said = tmp_path / "log", list[str]()

    async def whole() -> None:
        argv = child(log, "if len(open(" + repr(str(log))
                     + ").read().split()) < 2: sys.exit(1)\nsignal.pause()")
        page = asyncio.create_task(keep_page(argv, said.append, again_s=0.01))
        async with asyncio.timeout(30):
            while len(pids(log)) < 2:
                await asyncio.sleep(0.01)
        page.cancel()
        with pytest.raises(asyncio.CancelledError):
            await page
    asyncio.run(whole())
    assert said == ["the page has ended with status 1: it is started again in 0.01 s"]
    assert not Path(f"/proc/{pids(log)[-1]}").exists()


def test_one_that_does_not_understand_its_words_is_not_started_again(tmp_path: Path) -> None:
    said = list[str]()
    asyncio.run(keep_page(child(tmp_path / "log", f"sys.exit({NOT_UNDERSTOOD})"), said.append))
    assert len(pids(tmp_path / "log")) == 1
    assert "runs on without it" in said[0]


def test_the_secret_of_webhooks_reaches_the_page_by_its_file_only(tmp_path: Path) -> None:
    plain = argv_of("127.0.0.1:8765", tmp_path)
    assert "--hook-secret" not in plain
    assert argv_of("127.0.0.1:8765", tmp_path, tmp_path / "secret") == [
        *plain, "--hook-secret", str(tmp_path / "secret")]


def test_a_secret_without_a_page_is_refused(tmp_path: Path) -> None:
    said = CliRunner().invoke(build(), ["run", str(tmp_path), "--hook-secret", "secret"])
    assert said.exit_code != 0
    assert "--hook-secret needs --web" in said.output
