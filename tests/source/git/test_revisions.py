"""Revisions of a repository that are read before they are in force, and what is wrong with some."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from controller.errors import HotsiteError, SourceUnavailable, SpecError
from controller.model.desired import Desired
from controller.source.git.revisions import declared_in, open_revisions
from tests.source.git.repository import ESTATE, SITE, Repository, open_git, repository

__all__ = ["repository"]


def declared(where: str | Path, revision: str | None = None) -> Desired:
    return asyncio.run(declared_in(str(where), revision))


def refused(where: str | Path, revision: str | None, kind: type[HotsiteError] = SpecError) -> str:
    with pytest.raises(kind) as caught:
        declared(where, revision)
    return str(caught.value)


async def base_of(where: str | Path, one: str, other: str) -> str:
    async with open_revisions(str(where)) as revisions:
        commits = [await revisions.commit(name) for name in (one, other)]
        return await revisions.merge_base(*commits)


def test_a_checkout_is_read_at_its_commits_and_not_as_it_lies_there(repository: Repository) -> None:
    first = repository.commit(estate=ESTATE)
    repository.commit(more=SITE % "milan")
    (repository.clone / "estate.yaml").write_text("half of an edit")
    assert set(declared(repository.clone, first).sites) == {"paris"}
    assert set(declared(repository.clone, "HEAD").sites) == {"milan", "paris"}
    assert declared(repository.clone, "HEAD~1").revision == first[:12]


def test_a_folder_of_a_checkout_and_a_further_work_tree(
        repository: Repository, tmp_path: Path) -> None:
    repository.commit(specs__estate=ESTATE, other="nonsense: [")
    repository.git("worktree", "add", "--quiet", str(tmp_path / "further"))
    for clone in (repository.clone, tmp_path / "further"):
        assert set(declared(clone / "specs").sites) == {"paris"}


def test_an_address_is_read_at_any_branch_tag_or_commit_and_leaves_nothing(
        repository: Repository, tmp_path: Path) -> None:
    first = repository.commit(estate=ESTATE)
    repository.git("tag", "v1")
    repository.git("push", "--quiet", "origin", "v1")
    repository.commit(more=SITE % "milan")
    for revision in (first, first[:10], "v1", "main~1"):
        assert set(declared(repository.address, revision).sites) == {"paris"}
    assert set(declared(repository.address).sites) == {"milan", "paris"}
    assert not (tmp_path / "state").exists()


def test_what_is_in_force_is_untouched_by_a_review(repository: Repository, tmp_path: Path) -> None:
    repository.commit(estate=ESTATE)
    source = open_git(repository.address, tmp_path)
    asyncio.run(source.load())
    before = {path: path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()}
    repository.commit(more=SITE % "milan")
    declared(repository.address)
    assert before == {path: path.read_bytes()
                      for path in (tmp_path / "state").rglob("*") if path.is_file()}


def test_the_merge_base_is_where_a_branch_began(repository: Repository) -> None:
    began = repository.commit(estate=ESTATE)
    repository.git("checkout", "--quiet", "-b", "change")
    repository.commit(push=False, more=SITE % "milan")
    repository.git("push", "--quiet", "origin", "change")
    repository.git("checkout", "--quiet", "main")
    repository.commit(other=SITE % "lyon")
    for where in (repository.clone, repository.address):
        assert asyncio.run(base_of(where, "main", "change")) == began


def test_a_branch_is_found_that_a_job_has_only_as_origins(
        repository: Repository, tmp_path: Path) -> None:
    repository.commit(estate=ESTATE)
    job = tmp_path / "job"
    subprocess.run(["git", "clone", "--quiet", repository.bare, job], check=True)
    subprocess.run(["git", "-C", job, "checkout", "--quiet", "--detach"], check=True)
    subprocess.run(["git", "-C", job, "branch", "--quiet", "-D", "main"], check=True)
    assert set(declared(job, "main").sites) == {"paris"}


def test_a_shallow_clone_says_what_it_lacks(repository: Repository, tmp_path: Path) -> None:
    first = repository.commit(estate=ESTATE)
    repository.commit(more=SITE % "milan")
    job = tmp_path / "job"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", repository.bare.as_uri(), job],
                   check=True)
    assert set(declared(job).sites) == {"milan", "paris"}
    assert "fetch it whole" in refused(job, first)


def test_histories_that_share_nothing_have_no_base(repository: Repository) -> None:
    repository.commit(estate=ESTATE)
    repository.git("checkout", "--quiet", "--orphan", "stranger")
    repository.commit(push=False, more=SITE % "milan")
    with pytest.raises(SpecError, match="no commit in common"):
        asyncio.run(base_of(repository.clone, "main", "stranger"))


def test_a_clone_that_was_cut_in_the_middle_is_no_reason_to_conclude_anything(
        repository: Repository) -> None:
    repository.commit(estate=ESTATE)
    blob = repository.git("rev-parse", "HEAD:estate.yaml")
    (repository.clone / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    assert "cannot be read" in refused(repository.clone, "HEAD", SourceUnavailable)


@pytest.mark.parametrize("revision", [
    "", "--upload-pack=touch /tmp/x", "-h", "nowhere", "main\n", "main:estate.yaml", "HEAD~999",
    "0" * 40, "..", "main..HEAD", "\x1b[2J"])
def test_what_is_no_revision_is_no_option_either(repository: Repository, revision: str) -> None:
    repository.commit(estate=ESTATE)
    if revision:
        told = refused(repository.clone, revision)
        assert "has no revision" in told
        assert "\x1b" not in told


def test_a_folder_without_history_says_so(tmp_path: Path) -> None:
    (tmp_path / "estate.yaml").write_text(ESTATE)
    assert "is in no git repository" in refused(tmp_path, "HEAD")
    assert "is no folder" in refused(tmp_path / "estate.yaml", "HEAD")


@pytest.mark.parametrize(("link", "told"), [
    ("/etc/passwd", "a link out of the repository"), ("../../etc", "a link out of the repository")])
def test_a_strangers_links_out_of_the_tree_are_not_followed(
        repository: Repository, link: str, told: str) -> None:
    repository.commit(estate=ESTATE)
    (repository.clone / "more.yaml").symlink_to(link)
    repository.commit_all()
    assert told in refused(repository.clone, "HEAD")


def test_a_strangers_path_out_of_the_tree_is_refused(repository: Repository) -> None:
    """git itself does not commit such names, so the tree is written by hand."""
    repository.commit(estate=ESTATE)
    blob = repository.git("rev-parse", "HEAD:estate.yaml")
    for name in ("..", ".GIT"):
        inner = subprocess.run(["git", "mktree"], cwd=repository.clone, check=True, text=True,
                               input=f"100644 blob {blob}\tx.yaml\n", capture_output=True)
        tree = subprocess.run(["git", "mktree"], cwd=repository.clone, check=True, text=True,
                              input=f"040000 tree {inner.stdout.strip()}\t{name}\n",
                              capture_output=True)
        commit = repository.git("commit-tree", tree.stdout.strip(), "-m", "Out")
        assert "no file may have such a name" in refused(repository.clone, commit)


def test_no_program_that_a_checkout_names_is_started(
        repository: Repository, tmp_path: Path) -> None:
    """A partial clone would fetch what it lacks, by a program that its settings name."""
    repository.commit(estate=ESTATE)
    trap, sprung = tmp_path / "trap", tmp_path / "sprung"
    trap.write_text(f"#!/bin/sh\ntouch {sprung}\n")
    trap.chmod(0o755)
    blob = repository.git("rev-parse", "HEAD:estate.yaml")
    for setting, value in (("remote.origin.promisor", "true"), ("core.fsmonitor", str(trap)),
                           ("remote.origin.uploadpack", str(trap)),
                           ("extensions.partialClone", "origin"), ("core.sshCommand", str(trap)),
                           ("core.pager", str(trap)), ("core.hooksPath", str(tmp_path))):
        repository.git("config", setting, value)
    shutil.copy(trap, tmp_path / "post-checkout")
    (repository.clone / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    assert "cannot be read" in refused(repository.clone, "HEAD", SourceUnavailable)
    assert not sprung.exists()
