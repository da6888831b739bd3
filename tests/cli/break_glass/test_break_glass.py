"""An administrator at three in the morning, with the forge down: by hand, beside a running loop."""

import asyncio
import json
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from shutil import copytree

import pytest

from controller.source.git.wake import wake
from tests.cli.shell import SPECS, Shell
from tests.cli.test_run import converged, running, until

WINDOW = """
  windows:
    - {name: freeze, effect: deny, above: network, days: [mon, tue, wed, thu, fri, sat, sun],
       start: "00:00", duration: 24h}
  approvals: {twoPersons: [start, migrate, restart]}
"""


def git(folder: Path, *words: str, typed: str = "") -> str:
    """Run git in a folder."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"} | {
        f"GIT_{who}_{what}": "ann@b" for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")}
    return subprocess.run(["git", *words], cwd=folder, env=env, check=True, text=True, input=typed,
                          capture_output=True).stdout


class Forge:
    """A bare repository with a clone to work in."""

    def __init__(self, folder: Path) -> None:
        self.bare, self.clone = folder / "estate.git", folder / "clone"
        subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", self.bare], check=True)
        copytree(SPECS, self.clone)
        estate = next((self.clone / "estate").iterdir())
        estate.write_text(estate.read_text().replace("autonomy: restart", "autonomy: report")
                          + WINDOW)
        git(self.clone, "init", "--quiet", "-b", "main")
        git(self.clone, "remote", "add", "origin", str(self.bare))
        self.push()

    def push(self) -> None:
        """Commit what lies in the clone, and push it."""
        git(self.clone, "add", "--all")
        git(self.clone, "commit", "--quiet", "-m", "Say what should be")
        git(self.clone, "push", "--quiet", "origin", "HEAD:main")

    @property
    def address(self) -> str:
        """The branch that is followed."""
        return f"git+file://{self.bare}#main"


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    """Return a forge that has the lab's specs, in which nothing may be done without two yes."""
    return Forge(tmp_path)


def play(shell: Shell, forge: Forge, scene: Callable[[], Awaitable[None]]) -> None:
    """Run a scene beside a running loop."""
    async def act() -> None:
        async with running(shell, forge.address):
            await scene()

    asyncio.run(act())


def revision(shell: Shell) -> str:
    """Return the revision in force."""
    return str(json.loads(shell("status", "--json").output)["loop"]["revision"])


def said(shell: Shell) -> str:
    """Return what `status` says, without its ends of lines."""
    return " ".join(shell("status").output.split())


def test_a_night_with_the_forge_down(tmp_path: Path, forge: Forge) -> None:
    shell, folder = Shell(tmp_path / "state", converged), tmp_path / "tonight"

    def vcpus() -> int:
        assert shell.estate is not None
        config = shell.estate.world.node("paris-1").domains["sql"].config
        assert config is not None
        return config.cpus

    async def scene() -> None:
        forge.bare.rename(tmp_path / "gone")
        was = vcpus()
        assert shell("break-glass", "show").exit_code == 1
        assert shell("break-glass", "copy", str(folder)).exit_code == 0
        sql = folder / "virtual_machine" / "sql.yaml"
        sql.write_text(sql.read_text().replace("cpus: 1", "cpus: 2"))
        asked = await asyncio.to_thread(shell, "apply", str(folder), "--break-glass", "forge down")
        assert asked.exit_code == 3         # nobody can answer here
        assert "-  cpus: 1" in asked.output
        assert vcpus() == was
        done = await asyncio.to_thread(
            shell, "apply", str(folder), "--break-glass", "the forge is down", "--until", "2h",
            "--by", "ann", "--yes")
        assert done.exit_code == 0, done.output
        await until(lambda: vcpus() == 2)
        assert "+glass-" in revision(shell)
        await until(lambda: "break-glass: ann has broken the glass" in said(shell))
        assert "the forge is down" in said(shell)
        assert "cannot be read" in said(shell)
        assert "no window and no second person" in shell("events").output
        patch = shell("break-glass", "show", "--patch").output
        (tmp_path / "gone").rename(forge.bare)
        git(forge.clone, "apply", "--index", "-", typed=patch)
        forge.push()
        wake(shell.state)
        await until(lambda: "+glass-" not in revision(shell), 120.0)
        assert vcpus() == 2
        assert "is over: commit" in shell("break-glass", "show").output
        assert shell("break-glass", "end").exit_code == 1

    play(shell, forge, scene)


def test_what_cannot_be_is_refused_in_a_sentence(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "state", converged)
    for words, status in ((("--break-glass", "why"), 5), (("--until", "2h"), 2),
                          (("--break-glass", "why", "--until", "never"), 2)):
        found = shell("apply", str(SPECS), "--yes", *words)
        assert found.exit_code in {status, 1}, found.output
        assert "Traceback" not in found.output
