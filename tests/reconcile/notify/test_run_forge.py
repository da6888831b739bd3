"""`hotsite run` over a branch: pushes are seen by a wake, and the forge is told of each commit."""

import asyncio
from pathlib import Path
from shutil import copytree

import pytest

from controller.source.git.wake import wake
from tests.cli.shell import SPECS, Shell
from tests.cli.test_run import converged, running, until
from tests.providers.notify.sinks import Sink, http_sink
from tests.source.git.repository import Repository, repository

__all__ = ["repository"]


def states_of(sink: Sink) -> list[tuple[str, str]]:
    """Return the commit and state of each status that was told, in order."""
    return [(one.line.split()[1].rpartition("/")[2], one.content["state"])
            for one in sink.requests]


def test_a_forge_is_told_of_good_and_bad_commits_without_a_poll(
        repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copytree(SPECS, repository.clone, dirs_exist_ok=True)
    good = repository.commit_all()
    token, trust = tmp_path / "token", tmp_path / "git.yaml"
    token.touch(mode=0o600)
    token.write_text("t0ken")
    monkeypatch.setenv("HOTSITE_GIT", str(trust))
    shell = Shell(tmp_path / "state", converged)
    web = repository.clone / "virtual_machine" / "web.yaml"

    async def act() -> None:
        async with http_sink() as sink:
            trust.write_text(f"report: {{forge: gitea, tokenFile: {token},"
                             f" url: 'http://127.0.0.1:{sink.port}/api/v1/repos/us/estate'}}\n")
            async with running(shell, repository.address):
                await until(lambda: states_of(sink) == [(good, "success")])
                web.write_text(web.read_text().replace("memory:", "memry:"))
                bad = repository.commit_all()
                wake(shell.state)
                await until(lambda: states_of(sink)[1:] == [(bad, "failure")])
                assert "`memory` is missing" in sink.requests[1].content["description"]

    asyncio.run(act())
