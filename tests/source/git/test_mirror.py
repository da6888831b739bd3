"""The mirror stays small, whatever the history of the repository and whenever it was killed."""

import asyncio
import fcntl
import os
from pathlib import Path

import pytest

from controller.errors import SourceUnavailable
from controller.source.git import mirror as git_mirror
from controller.source.git.repository import GitSource
from tests.source.git.repository import ESTATE, SITE, Repository, open_git, refused, repository

__all__ = ["repository"]
MIB = 1 << 20


def redate(repository: Repository, at: int) -> None:
    """Date the newest commit, and let the branch and its clone point at that one."""
    raw = repository.git("cat-file", "commit", "HEAD")
    dated = "\n".join(f"{line.rsplit(' ', 2)[0]} {at} +0000"
                      if line.startswith("committer ") else line for line in raw.split("\n"))
    path = repository.clone.parent / "raw"
    path.write_text(dated + "\n")
    commit = repository.git("hash-object", "-t", "commit", "-w", str(path))
    repository.git("reset", "--quiet", "--hard", commit)
    repository.git("push", "--quiet", "--force", "origin", "HEAD:main")


@pytest.fixture
def grown(repository: Repository) -> Repository:
    """A repository whose history holds 8 MiB that nobody needs now."""
    (repository.clone / "old.bin").write_bytes(os.urandom(8 * MIB))
    repository.commit(estate=ESTATE)
    redate(repository, 1_500_000_000)
    (repository.clone / "old.bin").unlink()
    repository.commit(milan=SITE % "milan")
    return repository


def mirror_of(tmp_path: Path) -> Path:
    found, = (tmp_path / "state").glob("git/*/mirror.git")
    return found


def test_history_is_not_fetched(grown: Repository, tmp_path: Path) -> None:
    source = open_git(grown.address, tmp_path)
    for name in ("oslo", "rome"):
        grown.commit(**{name: SITE % name})
        assert name in asyncio.run(source.load()).sites
    assert git_mirror.size_bytes(tmp_path / "state") < MIB
    assert "rewound" not in source.describe()


def test_a_commit_dated_before_the_last_one_follows_it(
        grown: Repository, tmp_path: Path) -> None:
    source = open_git(grown.address, tmp_path)
    asyncio.run(source.load())
    grown.commit(oslo=SITE % "oslo", push=False)
    redate(grown, 1_000_000_000)
    assert "oslo" in asyncio.run(source.load()).sites
    assert "rewound" not in source.describe()


def test_what_a_killed_git_left_is_cleared_and_stops_nothing(
        grown: Repository, tmp_path: Path) -> None:
    source = open_git(grown.address, tmp_path)
    asyncio.run(source.load())
    mirror = mirror_of(tmp_path)
    left = [mirror / "shallow.lock", mirror / "refs/hotsite/fetched.lock",
            mirror / "objects/pack/tmp_pack_xYz", mirror / "packed-refs.lock",
            mirror / "objects/ab/tmp_obj_1"]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * MIB)
    grown.commit(oslo=SITE % "oslo")
    assert "oslo" in asyncio.run(source.load()).sites
    assert [path for path in left if path.exists()] == []


def test_a_fetch_that_is_too_large_is_stopped_and_leaves_nothing(
        repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_git(repository.address, tmp_path)
    repository.commit(estate=ESTATE)
    asyncio.run(source.load())
    before = git_mirror.size_bytes(tmp_path / "state")
    monkeypatch.setattr(git_mirror, "FETCH_BYTES_MAX", MIB)
    monkeypatch.setattr(git_mirror, "LOOK_S", 0.001)
    (repository.clone / "big.bin").write_bytes(os.urandom(96 * MIB))
    repository.commit(oslo=SITE % "oslo")
    assert "takes more than 1 MiB: keep the specs in a repository of their own" in refused(source)
    assert git_mirror.size_bytes(tmp_path / "state") < before + MIB


def test_an_outgrown_mirror_is_fetched_anew_and_keeps_the_last_good_commit(
        repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = repository.commit(estate=ESTATE)
    (repository.clone / "big.bin").write_bytes(os.urandom(2 * MIB))
    broken = repository.commit(milan="kind: [unfinished\n")
    source = open_git(repository.address, tmp_path)
    repository.git("push", "--quiet", "--force", "origin", f"{good}:refs/heads/main")
    asyncio.run(source.load())
    repository.git("push", "--quiet", "--force", "origin", f"{broken}:refs/heads/main")
    monkeypatch.setattr(git_mirror, "MIRROR_BYTES_MAX", 0)
    with pytest.raises(Exception, match="not valid YAML"):
        asyncio.run(source.load())
    (repository.clone / "big.bin").unlink()
    repository.commit(milan="kind: [unfinished too\n")
    with pytest.raises(Exception, match="not valid YAML"):
        asyncio.run(source.load())
    assert git_mirror.size_bytes(mirror_of(tmp_path)) < MIB
    assert len(list(mirror_of(tmp_path).parent.glob("*.git"))) == 1
    assert asyncio.run(open_git(repository.address, tmp_path).load()).revision == good[:12]


def test_two_do_not_fetch_into_one_mirror(
        repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.commit(estate=ESTATE)
    source: GitSource = open_git(repository.address, tmp_path)
    asyncio.run(source.load())
    repository.commit(oslo=SITE % "oslo")
    monkeypatch.setattr(git_mirror, "LOCK_S", 0.02)
    monkeypatch.setattr(git_mirror, "LOOK_S", 0.01)
    lock = mirror_of(tmp_path).with_name("fetch.lock")
    with lock.open("r+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(SourceUnavailable, match="another git has been fetching"):
            asyncio.run(source.load())
    assert "oslo" in asyncio.run(source.load()).sites
