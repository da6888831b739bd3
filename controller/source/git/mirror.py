"""The mirror: a bare repository in the state folder with the newest commits of one branch.

Rule 1: one git at a time fetches into a mirror. The lock is an open file that git inherits: if a
        controller dies, its git goes on and keeps the lock until it ends.
Rule 2: whoever holds the lock clears what a killed git left: half packs, and lock files that would
        stop every later fetch.
Rule 3: only a mirror that was fetched whole replaces another.
"""

import asyncio
import fcntl
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from controller.source.git.address import GitAddress
from controller.source.git.program import GitFailed, GitProgram

FETCH_S: Final = 300.0
FETCH_BYTES_MAX: Final = 1 << 30
"""Limit of one fetch; specs take a thousandth of it."""
MIRROR_BYTES_MAX: Final = 512 << 20
"""A larger mirror is made anew, without the commits before the newest."""
NONE_NEWER: Final = "no commits selected"
"""What git says if the newest commit is dated before the one in the mirror."""
SOME_COMMITS: Final = 50
LOOK_S: Final = 0.5
LOCK_S: Final = 60.0
FETCHED: Final = "refs/hotsite/fetched"
GOOD: Final = "refs/hotsite/good"
LEFTOVERS: Final = ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*", "objects/pack/.tmp-*",
                    "objects/pack/*.lock", "objects/??/tmp_obj_*", "objects/info/*.lock")
QUARANTINES: Final = ("objects/tmp_objdir-*", "objects/incoming-*")


async def fetch(git: GitProgram, address: GitAddress, before: str) -> None:
    """Fetch the newest commit of the branch into the mirror, and those between it and `before`.

    Errors: GitFailed; the mirror is as it was.
    """
    async with locked(git) as lock:
        clear(git.mirror)
        since = (await git.run("log", "-1", "--format=%ct", before)).strip() if before else ""
        if not since:
            await _fetch(git, address, lock, "--depth=1")
            return
        try:
            await _fetch(git, address, lock, f"--shallow-since=@{since}")
        except GitFailed as error:
            if NONE_NEWER not in str(error):
                raise
            await _fetch(git, address, lock, f"--depth={SOME_COMMITS}")


async def deepen(git: GitProgram, address: GitAddress, depth: int) -> None:
    """Fetch so many commits of the branch's history.

    Errors: GitFailed; the mirror is as it was.
    """
    async with locked(git) as lock:
        clear(git.mirror)
        await _fetch(git, address, lock, f"--depth={depth}")


async def fetch_all(git: GitProgram, address: GitAddress) -> None:
    """Fetch every branch and tag, with their history.

    Errors: GitFailed.
    """
    async with locked(git) as lock:
        await _bounded(git, lock, "its history", "--", address.url,
                       "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


async def renew(git: GitProgram) -> None:
    """Replace a mirror that has outgrown its bound by one of its newest and its last good commit.

    Errors: GitFailed; the mirror is as it was.
    """
    if size_bytes(git.mirror) <= MIRROR_BYTES_MAX:
        return
    new = git.beside("renewed.git")
    old = git.mirror.with_name("outgrown.git")
    async with locked(git):
        shutil.rmtree(new.mirror, ignore_errors=True)
        try:
            await new.prepare()
            for reference in (FETCHED, GOOD):
                if commit := await commit_of(git, reference):
                    await new.run("fetch", "--quiet", "--depth=1", "--no-write-fetch-head", "--",
                                  git.mirror.absolute().as_uri(), f"{commit}:{reference}",
                                  timeout_s=FETCH_S, from_here=True)
            shutil.rmtree(old, ignore_errors=True)
            git.mirror.rename(old)
            new.mirror.rename(git.mirror)
        finally:
            shutil.rmtree(new.mirror, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


async def _fetch(git: GitProgram, address: GitAddress, lock: int, depth: str) -> None:
    """Fetch the branch."""
    await _bounded(git, lock, "its newest commit", depth, "--", address.url,
                   f"+refs/heads/{address.branch}:{FETCHED}")


async def _bounded(git: GitProgram, lock: int, what: str, *argv: str) -> None:
    """Fetch, and stop if it takes more room than FETCH_BYTES_MAX."""
    begun = size_bytes(git.mirror)
    fetching = asyncio.create_task(git.run(
        "fetch", "--quiet", "--force", "--no-tags", "--no-recurse-submodules",
        "--no-write-fetch-head", "--update-shallow", *argv, timeout_s=FETCH_S, keep_open=(lock,)))
    try:
        while not (await asyncio.wait({fetching}, timeout=LOOK_S))[0]:
            if size_bytes(git.mirror) - begun > FETCH_BYTES_MAX:
                raise GitFailed(f"{what} takes more than {FETCH_BYTES_MAX >> 20} MiB:"
                                " keep the specs in a repository of their own")
        await fetching
    except GitFailed:
        await _ended(fetching)
        clear(git.mirror)
        raise
    finally:
        await _ended(fetching)


async def _ended(fetching: "asyncio.Task[str]") -> None:
    """Stop the fetch if it still runs, and wait for its end."""
    fetching.cancel()
    await asyncio.wait({fetching})


async def commit_of(git: GitProgram, reference: str) -> str:
    """Return the commit behind a reference of the mirror; empty when there is none."""
    return (await git.run("for-each-ref", "--format=%(objectname)", reference)).strip()


@asynccontextmanager
async def locked(git: GitProgram) -> AsyncIterator[int]:
    """Lock the mirror for one fetch; the descriptor is for git to inherit.

    Errors: GitFailed if another git holds the lock for too long.
    """
    handle = os.open(git.mirror.with_name("fetch.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC,
                     0o600)
    try:
        for _ in range(int(LOCK_S / LOOK_S)):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(LOOK_S)
        else:
            raise GitFailed(f"another git has been fetching it for {LOCK_S:g} s")
        yield handle
    finally:
        os.close(handle)


def clear(mirror: Path) -> None:
    """Delete what a killed git left in a mirror that nobody else writes to now."""
    for pattern in LEFTOVERS:
        for path in mirror.glob(pattern):
            path.unlink(missing_ok=True)
    for pattern in QUARANTINES:
        for path in mirror.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


def size_bytes(folder: Path) -> int:
    """Return the size of the files in a folder; files that vanish meanwhile count nothing."""
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(base, name).lstat().st_size
            except FileNotFoundError:
                continue
    return total
