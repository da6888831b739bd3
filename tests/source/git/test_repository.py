"""Specs from real git repositories over file addresses, without the user's git settings."""

import asyncio
import os
import subprocess
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from controller.errors import SourceUnavailable, SpecError
from controller.source.folder import FolderSource
from controller.source.git import tree as git_tree
from controller.source.git.program import last_words
from controller.source.git.repository import GitSource
from controller.source.source import open_source
from tests.source.git.repository import ESTATE, SITE, Repository, open_git, refused, repository

__all__ = ["repository"]


@pytest.fixture
def source(repository: Repository, tmp_path: Path) -> GitSource:
    return open_git(repository.address, tmp_path)


def test_a_branch_is_loaded_whole_and_carries_its_commit(
        repository: Repository, source: GitSource) -> None:
    commit = repository.commit(estate=ESTATE, sites__milan=SITE % "milan")
    desired = asyncio.run(source.load())
    assert (desired.revision, set(desired.sites)) == (commit[:12], {"paris", "milan"})
    assert source.describe() == (f"{repository.address}, commit {commit[:12]} by Ann:"
                                 " Say what should be")
    assert desired.places["Site/milan"].file == "sites/milan.yaml"


def test_a_folder_of_the_repository_can_be_all_there_is_to_it(
        repository: Repository, tmp_path: Path) -> None:
    repository.commit(specs__estate=ESTATE, other__broken="kind: Nonsense\n")
    desired = asyncio.run(open_git(repository.address + ":specs", tmp_path).load())
    assert set(desired.sites) == {"paris"}
    with pytest.raises(SpecError, match="has no folder elsewhere"):
        asyncio.run(open_git(repository.address + ":elsewhere", tmp_path).load())


def test_an_empty_repository_says_so(source: GitSource) -> None:
    assert "is empty: push a commit; the last good commit stays in force" in refused(source)


def test_a_deleted_branch_says_so_and_names_those_that_are_there(
        repository: Repository, source: GitSource) -> None:
    repository.commit(estate=ESTATE)
    asyncio.run(source.load())
    repository.git("push", "--quiet", "origin", "HEAD:trunk")
    subprocess.run(["git", "-C", repository.bare, "update-ref", "-d", "refs/heads/main"],
                   check=True)
    assert "has no branch main; it was deleted or never pushed (there is: trunk)" in refused(source)


def test_a_vanished_repository_says_so(repository: Repository, source: GitSource) -> None:
    repository.commit(estate=ESTATE)
    asyncio.run(source.load())
    repository.bare.rename(repository.bare.with_name("away"))
    assert "cannot be read: " in refused(source)


def test_a_broken_commit_is_refused_whole_and_the_next_one_heals_it(
        repository: Repository, source: GitSource) -> None:
    repository.commit(estate=ESTATE)
    asyncio.run(source.load())
    repository.commit(milan="kind: Sight\nmetadata: {name: milan}\n")
    with pytest.raises(SpecError, match=r"milan\.yaml:1"):
        asyncio.run(source.load())
    repository.commit(milan=SITE % "milan")
    assert set(asyncio.run(source.load()).sites) == {"paris", "milan"}


@pytest.mark.parametrize("spoil", [
    lambda repository: repository.bare.rename(repository.bare.with_name("away")),
    lambda repository: repository.commit(milan="kind: [unfinished\n"),
], ids=["unreachable", "broken"])
def test_after_a_restart_the_last_good_commit_holds_while_the_newest_cannot(
        repository: Repository, tmp_path: Path, spoil: Callable[[Repository], object]) -> None:
    good = repository.commit(estate=ESTATE)
    asyncio.run(open_git(repository.address, tmp_path).load())
    spoil(repository)
    again = open_git(repository.address, tmp_path)

    async def restarted() -> None:
        assert (await again.load()).revision == good[:12]
        async with asyncio.timeout(20), aclosing(again.changes()) as changes:
            await anext(changes)
        with pytest.raises((SourceUnavailable, SpecError)):
            await again.load()

    asyncio.run(restarted())


def test_changes_come_once_per_new_commit(repository: Repository, source: GitSource) -> None:
    repository.commit(estate=ESTATE)

    async def follow() -> list[str]:
        seen = [(await source.load()).revision]
        async with asyncio.timeout(30), aclosing(source.changes()) as changes:
            for name in ("milan", "rome"):
                await asyncio.to_thread(repository.commit, **{name: SITE % name})
                await anext(changes)
                seen.append((await source.load()).revision)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await anext(changes)
        return seen

    revisions = asyncio.run(follow())
    assert len(set(revisions)) == 3


def test_a_source_that_fails_and_comes_back_is_noticed_both_times(
        repository: Repository, source: GitSource) -> None:
    repository.commit(estate=ESTATE)
    away = repository.bare.with_name("away")

    async def follow() -> None:
        await source.load()
        async with asyncio.timeout(30), aclosing(source.changes()) as changes:
            repository.bare.rename(away)
            await anext(changes)
            with pytest.raises(SourceUnavailable):
                await source.load()
            away.rename(repository.bare)
            await anext(changes)
            assert set((await source.load()).sites) == {"paris"}

    asyncio.run(follow())


@pytest.mark.parametrize("place", ["x", "deep/x"])
def test_a_submodule_is_refused_by_name(repository: Repository, source: GitSource,
                                        place: str) -> None:
    repository.commit(estate=ESTATE)
    assert asyncio.run(source.load()).sites
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},{place}")
    repository.git("commit", "--quiet", "-m", "A part that is elsewhere")
    repository.git("push", "--quiet", "origin", "HEAD:main")
    with pytest.raises(SpecError) as caught:
        asyncio.run(source.load())
    assert caught.value.problems == (
        f"{place}: a submodule: its files are not part of this commit: copy them into it",)


def test_a_folder_that_is_a_submodule_is_refused(repository: Repository, tmp_path: Path) -> None:
    repository.commit(estate=ESTATE)
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},specs")
    repository.git("commit", "--quiet", "-m", "All of it is elsewhere")
    repository.git("push", "--quiet", "origin", "HEAD:main")
    with pytest.raises(SpecError, match="specs is a submodule"):
        asyncio.run(open_git(repository.address + ":specs", tmp_path).load())


def test_hooks_filters_and_attributes_of_the_repository_do_nothing(
        repository: Repository, source: GitSource, tmp_path: Path) -> None:
    owned = tmp_path / "owned"
    repository.commit(estate=ESTATE, milan=SITE % "milan")
    (repository.clone / ".gitattributes").write_text(
        "*.yaml filter=evil export-ignore export-subst ident text eol=crlf\n")
    (repository.clone / ".gitmodules").write_text(
        f'[submodule "x"]\n\tpath = x\n\turl = ext::touch {owned}\n')
    (repository.clone / ".lfsconfig").write_text(f"[lfs]\n\turl = file://{owned}\n")
    commit = repository.commit_all()
    for name in ("post-checkout", "reference-transaction", "post-update"):
        hook = repository.bare / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {owned}\n")
        hook.chmod(0o755)
    desired = asyncio.run(source.load())
    assert set(desired.sites) == {"paris", "milan"}
    assert source.fetched is not None
    assert (source.fetched.folder / "milan.yaml").read_text() == SITE % "milan"
    assert desired.revision == commit[:12]
    assert not owned.exists()


def test_the_users_own_settings_have_no_say(
        repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, owned = tmp_path / "home", tmp_path / "owned"
    home.mkdir()
    (home / ".gitconfig").write_text(
        f'[url "ext::touch {owned} "]\n\tinsteadOf = file://\n'
        f"[core]\n\tfsmonitor = touch {owned}\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_SSH_COMMAND", f"touch {owned}")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    repository.commit(estate=ESTATE)
    asyncio.run(open_git(repository.address, tmp_path).load())
    assert not owned.exists()


@pytest.mark.parametrize(("name", "target"), [
    ("out.yaml", "/etc/passwd"), ("out.yaml", "../../x"), ("deep/out.yaml", "a/../../../x")])
def test_a_link_out_of_the_tree_is_refused(
        repository: Repository, source: GitSource, name: str, target: str) -> None:
    repository.commit(estate=ESTATE)
    link = repository.clone / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(target)
    repository.commit_all()
    with pytest.raises(SpecError, match="a link out of the repository"):
        asyncio.run(source.load())


def test_a_link_inside_the_tree_is_kept(repository: Repository, source: GitSource) -> None:
    repository.commit(estate=ESTATE, real__milan=SITE % "milan")
    (repository.clone / "shown.yaml").symlink_to("real/milan.yaml")
    repository.commit_all()
    assert set(asyncio.run(source.load()).sites) == {"paris", "milan"}


def test_a_tree_that_writes_through_a_link_is_refused(
        repository: Repository, source: GitSource, tmp_path: Path) -> None:
    repository.commit(estate=ESTATE)
    blob = repository.git("hash-object", "-w", "estate.yaml")
    (tmp_path / "to").write_text("../../../../owned")
    link = repository.git("hash-object", "-w", str(tmp_path / "to"))
    (tmp_path / "sub").write_text(f"100644 blob {blob}\tx.yaml\n")
    entries = f"120000 blob {link}\td\n040000 tree %s\td\n100644 blob {blob}\testate.yaml\n"
    sub = subprocess.run(["git", "-C", repository.clone, "mktree"], check=True, text=True,
                         input=f"100644 blob {blob}\tx.yaml\n", capture_output=True).stdout.strip()
    tree = subprocess.run(["git", "-C", repository.clone, "mktree"], check=True, text=True,
                          input=entries % sub, capture_output=True).stdout.strip()
    commit = repository.git("commit-tree", tree, "-m", "duplicate entries")
    repository.git("push", "--quiet", "--force", "origin", f"{commit}:refs/heads/main")
    assert "cannot be fetched" in refused(source)
    assert not list(tmp_path.rglob("x.yaml"))


def test_a_huge_tree_is_refused_before_it_is_written(
        repository: Repository, source: GitSource, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.commit(estate=ESTATE, milan=SITE % "milan")
    monkeypatch.setattr(git_tree, "SIZE_BYTES_MAX", 100)
    with pytest.raises(SpecError, match="name the folder of the specs"):
        asyncio.run(source.load())


def test_only_the_last_few_trees_are_kept(repository: Repository, source: GitSource,
                                          tmp_path: Path) -> None:
    repository.commit(estate=ESTATE)
    for number in range(6):
        newest = repository.commit(**{f"s{number}": SITE % f"s{number}"})
        asyncio.run(source.load())
    (trees,) = (tmp_path / "state" / "git").glob("*/trees")
    kept = {path.name for path in trees.iterdir()}
    assert len(kept) == git_tree.KEEP_TREES
    assert newest in kept


def test_a_damaged_mirror_is_fetched_anew(repository: Repository, source: GitSource,
                                          tmp_path: Path) -> None:
    repository.commit(estate=ESTATE)
    asyncio.run(source.load())
    (mirror,) = (tmp_path / "state" / "git").glob("*/mirror.git")
    for path in (mirror / "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(b"scribble")
    assert "damaged mirror here, which is fetched anew next time" in refused(source)
    assert set(asyncio.run(source.load()).sites) == {"paris"}


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to give files away")
def test_a_repository_of_another_user_is_read_all_the_same(
        repository: Repository, source: GitSource) -> None:
    repository.commit(estate=ESTATE)
    for path in (repository.bare, *repository.bare.rglob("*")):
        os.chown(path, 65534, 65534)
    assert set(asyncio.run(source.load()).sites) == {"paris"}


def test_a_state_folder_that_cannot_be_written_says_so(
        repository: Repository, tmp_path: Path) -> None:
    repository.commit(estate=ESTATE)
    (tmp_path / "state").write_text("a file, not a folder")
    assert "cannot be kept in" in refused(open_git(repository.address, tmp_path))


def test_the_words_of_the_command_line_name_a_source(tmp_path: Path) -> None:
    assert isinstance(open_source("specs/", tmp_path), FolderSource)
    assert isinstance(open_source("git+file:///srv/x#main", tmp_path), GitSource)
    for text in ("ext::sh -c id", "https://forge/estate", "git+ext::sh#main"):
        with pytest.raises(SpecError, match="is not understood"):
            open_source(text, tmp_path)


def test_gits_last_words_are_the_ones_that_help() -> None:
    assert last_words("warning: x\nroot@h: Permission denied (publickey).\r\n"
                      "fatal: Could not read from remote repository.\n") == (
        "root@h: Permission denied (publickey).")
    assert last_words("fatal: \x1b[31mred") == "[31mred"
    assert last_words("") == "it said nothing"
