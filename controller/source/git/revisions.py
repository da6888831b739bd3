"""Any revision of a repository, only to be read: for a review before it is put in force.

    hotsite plan specs/ --from main --to HEAD         a checkout on this machine
    hotsite plan git+ssh://git@host/estate.git#main --from v1

A checkout is read where it lies, by its own history; nothing is fetched, and no file of the working
tree counts. An address is fetched with all branches and tags into a mirror that is deleted
afterwards: the mirror of the source, and what is in force, are not touched. Each commit is written
out by `tree.export`, so that links, submodules and names are judged as they are for the loop.

A revision is a branch, a tag, a commit or what else git understands. A branch that a checkout has
only as `origin/NAME`, as in a CI job, is found there. The merge base is the last commit that both
have: what a branch is compared with, whatever happened on the other since.

Rule 1: a commit that is reviewed is not trusted: no signature is asked for, and nothing is noted.
Rule 2: git runs on a checkout with no protocol allowed at all.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from controller.errors import SourceUnavailable, SpecError
from controller.model.desired import Desired
from controller.source.git.address import GitAddress, parse_git_address
from controller.source.git.mirror import fetch_all
from controller.source.git.program import GitFailed, GitProgram
from controller.source.git.tree import export
from controller.source.load import SpecCache

HERE: Final = "HEAD"
NO_PROTOCOL: Final = "none"
POINTER_BYTES: Final = 4096


class Revisions:
    """The revisions of one repository."""

    def __init__(self, git: GitProgram, where: str, head: str, folder: str, trees: Path) -> None:
        self._git = git
        self._where = where
        self._folder = folder
        self._trees = trees
        self._cache = SpecCache()
        self.head = head
        """The revision that is meant where none is named."""

    async def commit(self, revision: str) -> str:
        """Return the whole name of a revision's commit.

        Errors: SpecError if there is none; SourceUnavailable.
        """
        if revision.isprintable() and not revision.startswith("-"):
            for name in (revision, f"refs/remotes/origin/{revision}"):
                try:
                    return (await self._git.run("rev-parse", "--verify", "--quiet",
                                                f"{name}^{{commit}}")).strip()
                except GitFailed:
                    continue
        raise SpecError((f"{self._where} has no revision {revision!r}: name a branch, a tag or a"
                         " commit; a shallow clone lacks the older ones, so fetch it whole",))

    async def merge_base(self, one: str, other: str) -> str:
        """Return the last commit that two commits have in common.

        Errors: SpecError if there is none.
        """
        try:
            return (await self._git.run("merge-base", one, other)).strip()
        except GitFailed:
            raise SpecError((f"{self._where}: {one[:12]} and {other[:12]} have no commit in common"
                             " here: a shallow clone lacks the older ones, so fetch it whole",)
                            ) from None

    async def load(self, commit: str) -> Desired:
        """Return what a commit declares.

        Errors: SpecError if it is wrong, SourceUnavailable if it cannot be read.
        """
        try:
            if self._folder and not await self._git.run("ls-tree", "-d", commit, "--",
                                                        self._folder):
                raise SpecError((f"{self._where}: commit {commit[:12]} has no folder"
                                 f" {self._folder}",))
            tree = await export(self._git, commit, self._folder, self._trees)
        except GitFailed as error:
            raise SourceUnavailable(f"{self._where}: commit {commit[:12]} cannot be read: {error};"
                                    " a partial clone lacks files, so fetch it whole") from error
        return self._cache.load(tree, commit[:12])


@asynccontextmanager
async def open_revisions(text: str) -> AsyncIterator[Revisions]:
    """Yield the revisions of the repository that holds a folder, or of an address.

    Errors: SpecError if there is no repository; SourceUnavailable if it cannot be fetched.
    """
    with TemporaryDirectory(prefix="hotsite-review-") as name:
        place = Path(name)
        if text.startswith("git+"):
            address = parse_git_address(text)
            git = GitProgram(place, address, None)
            try:
                await git.prepare()
                await fetch_all(git, address)
            except GitFailed as error:
                raise SourceUnavailable(f"{address} cannot be fetched: {error}") from error
            yield Revisions(git, str(address), address.branch, address.folder, place / "trees")
            return
        top, store, folder = checkout_of(text)
        git = GitProgram(place, GitAddress(top.as_uri(), NO_PROTOCOL, HERE), None, str(store))
        await git.prepare()
        yield Revisions(git, str(top), HERE, folder, place / "trees")


async def declared_in(text: str, revision: str | None) -> Desired:
    """Return what one revision declares; None is the one that is meant where none is named.

    Errors: SpecError, SourceUnavailable.
    """
    async with open_revisions(text) as revisions:
        return await revisions.load(await revisions.commit(revision or revisions.head))


def checkout_of(text: str) -> tuple[Path, Path, str]:
    """Return the top of the checkout that holds a folder, its git folder, and the folder in it.

    Errors: SpecError if it is in none.
    """
    folder = Path(text).resolve()
    if not text.strip() or folder.is_file():
        raise SpecError((f"{text!r} is no folder: name the folder of the specs, since a revision"
                         " is of all of them",))
    for top in (folder, *folder.parents):
        store = top / ".git"
        if store.is_file():     # a further work tree
            with store.open("rb") as file:
                pointer = file.read(POINTER_BYTES).decode(errors="replace")
            store = top / pointer.removeprefix("gitdir:").strip()
        if (store / "HEAD").is_file():
            return top, store, folder.relative_to(top).as_posix().removeprefix(".")
    raise SpecError((f"{text} is in no git repository, so that it has no revisions: name a folder"
                     " of a checkout, or an address like git+ssh://git@host/estate.git#main",))
