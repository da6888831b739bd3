"""A real repository for the tests of git sources: a bare one, and a clone to commit in."""

import asyncio
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from controller.errors import SourceUnavailable
from controller.source.git.address import parse_git_address
from controller.source.git.repository import GitSource

ESTATE = """\
kind: Estate
metadata: {name: lab}
spec:
  ssh: {keyFile: /etc/hotsite/id_ed25519, knownHosts: /etc/hotsite/known_hosts}
---
kind: Site
metadata: {name: paris}
spec: {}
"""
SITE = "kind: Site\nmetadata: {name: %s}\nspec: {}\n"


@dataclass(frozen=True)
class Repository:
    """A bare repository that others fetch from, and a clone that is worked in."""

    bare: Path
    clone: Path

    def git(self, *argv: str, committed: str = "") -> str:
        """Run git in the clone; `committed` is a date that the committer chooses."""
        clean = {"PATH": os.environ["PATH"], "HOME": str(self.clone.parent),
                 "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "a@b",
                 "GIT_COMMITTER_NAME": "Ann", "GIT_COMMITTER_EMAIL": "a@b"}
        dated = {"GIT_COMMITTER_DATE": committed} if committed else {}
        return subprocess.run(["git", *argv], cwd=self.clone, env=clean | dated, check=True,
                              capture_output=True, text=True).stdout.strip()

    def commit(self, *, push: bool = True, **files: str) -> str:
        """Commit files (a double underscore is a slash, an empty one is removed) and push."""
        for name, content in files.items():
            path = self.clone / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            if content:
                path.write_text(content)
            else:
                path.unlink()
        return self.commit_all(push=push)

    def commit_all(self, *, push: bool = True) -> str:
        """Commit whatever lies in the clone."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", "Say what should be")
        if push:
            self.git("push", "--quiet", "--force", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")

    @property
    def address(self) -> str:
        """The branch that is polled."""
        return f"git+file://{self.bare}#main"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    bare, clone = tmp_path / "estate.git", tmp_path / "clone"
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", bare], check=True)
    clone.mkdir()
    found = Repository(bare, clone)
    found.git("init", "--quiet", "-b", "main")
    found.git("remote", "add", "origin", str(bare))
    return found


def open_git(address: str, tmp_path: Path, known_hosts: str | None = None) -> GitSource:
    return GitSource(parse_git_address(address), tmp_path / "state", poll_s=0.02,
                     known_hosts=known_hosts)


def refused(source: GitSource) -> str:
    with pytest.raises(SourceUnavailable) as caught:
        asyncio.run(source.load())
    return str(caught.value)
