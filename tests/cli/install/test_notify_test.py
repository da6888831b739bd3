"""`hotsite notify-test`, and what `validate` says of words that are never filled in."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copytree

import pytest

from tests.cli.shell import SPECS, Shell
from tests.cli.test_run import converged
from tests.providers.notify.sinks import http_sink
from tests.reconcile.notify.test_run import tell


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    """The lab's specs, to be edited."""
    return Path(copytree(SPECS, tmp_path / "specs"))


def test_each_receiver_is_tried_and_named(tmp_path: Path, specs: Path) -> None:
    shell = Shell(tmp_path / "state", converged)

    async def act() -> None:
        async with http_sink() as sink:
            tell(specs, sink.url)
            with ThreadPoolExecutor(1) as beside:
                verb = asyncio.get_running_loop().run_in_executor
                result = await verb(beside, shell, "notify-test", str(specs))
                assert (result.exit_code, result.output) == (0, "oncall: took it\n")
                (request,) = sink.requests
                assert request.content["status"] == "test"
                assert "nothing is wrong" in request.content["text"]
                sink.answer = lambda _: b"HTTP/1.1 403 No\r\nConnection: close\r\n\r\n"
                result = await verb(beside, shell, "notify-test", str(specs), "oncall")
                assert (result.exit_code, result.output) == (
                    1, "oncall: the webhook of oncall answers 403\n")
                result = await verb(beside, shell, "notify-test", str(specs), "ann")
                assert result.exit_code == 4
                assert "ann: no such receiver is declared: there are oncall" in result.output

    asyncio.run(act())


def test_without_a_receiver_that_is_said(tmp_path: Path, specs: Path) -> None:
    result = Shell(tmp_path / "state", converged)("notify-test", str(specs))
    assert result.exit_code == 4
    assert "nobody is told anything" in result.output


@pytest.mark.parametrize(("extra", "said"), [
    (', content: {text: "$txet"}', "`$txet` is not known"),
    (', content: {text: "5$"}', "write `$$` for a dollar")])
def test_a_word_that_is_never_filled_in_is_refused_with_its_place(
        extra: str, said: str, tmp_path: Path, specs: Path) -> None:
    tell(specs, 'https://example.org/"' + extra + "}  #")
    result = Shell(tmp_path / "state", converged)("validate", str(specs))
    assert result.exit_code == 4
    assert said in result.output
    lines = (specs / "estate/lab.yaml").read_text().splitlines()
    line = 1 + next(number for number, text in enumerate(lines) if "webhook:" in text)
    assert f"estate/lab.yaml:{line}:" in result.output
