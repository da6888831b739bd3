"""The files of one commit, written out as committed: no filters, no links that lead outside.

A submodule is refused, because its files are in no commit of this repository.
Rule 1: a folder that has a commit's name is whole: it is written elsewhere, then renamed.
"""

import asyncio
import os
import posixpath
import shutil
from pathlib import Path
from typing import Final, NamedTuple

from controller.errors import SpecError
from controller.source.git.program import GitFailed, GitProgram

FILES_MAX: Final = 50_000
SIZE_BYTES_MAX: Final = 256 << 20
KEEP_TREES: Final = 3
LINK: Final = "120000"
SUBMODULE: Final = "160000"


class TreeEntry(NamedTuple):
    """One file of a commit."""

    mode: str
    digest: str
    size_bytes: int
    path: str


async def export(git: GitProgram, commit: str, folder: str, trees: Path) -> Path:
    """Write the files of `commit` below `folder` into a new folder under `trees`.

    Errors: SpecError if the commit holds what must not be written, GitFailed if it could not be
    read; nothing is left behind.
    """
    entries = await list_entries(git, commit, folder)
    part = trees / f".{commit}.part"
    whole = trees / commit
    shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(whole, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        await _write(git, entries, part)
        part.rename(whole)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return whole


async def list_entries(git: GitProgram, commit: str, folder: str) -> tuple[TreeEntry, ...]:
    """Return every file of `commit` below `folder`, with paths relative to it."""
    text = await git.run("ls-tree", "-r", "-z", "--long", "--full-tree", f"{commit}:{folder}")
    entries = parse_entries(text)
    if len(entries) > FILES_MAX or sum(entry.size_bytes for entry in entries) > SIZE_BYTES_MAX:
        too_much = (f"commit {commit[:12]} holds more than {FILES_MAX} files or "
                    f"{SIZE_BYTES_MAX >> 20} MiB: name the folder of the specs, #branch:folder")
        raise SpecError((too_much,))
    problems = tuple(problem for entry in entries if (problem := _problem(entry)))
    if problems:
        raise SpecError(problems)
    return entries


def parse_entries(text: str) -> tuple[TreeEntry, ...]:
    """Return what `git ls-tree -r -z --long` printed, sorted by path.

    Errors: GitFailed for a file that is not there, which git prints with the size BAD.
    """
    entries = []
    for line in text.split("\0"):
        head, _, path = line.partition("\t")
        if path:
            mode, _, digest, size = head.split()
            if size != "-" and not size.isdigit():
                raise GitFailed(f"{path} cannot be read from the mirror")
            entries.append(TreeEntry(mode, digest, 0 if size == "-" else int(size), path))
    return tuple(sorted(entries, key=lambda entry: entry.path))


def _problem(entry: TreeEntry) -> str:
    """Return why an entry may not be written; empty when it may."""
    parts = entry.path.split("/")
    if any(part in {"", ".", ".."} or part.lower() == ".git" for part in parts):
        return f"{entry.path}: no file may have such a name: remove it from the repository"
    if entry.mode == SUBMODULE:
        return (f"{entry.path}: a submodule: its files are not part of this commit: copy them into"
                " it")
    return ""


async def _write(git: GitProgram, entries: tuple[TreeEntry, ...], root: Path) -> None:
    """Write files first and links last, so that nothing is ever written through a link."""
    async with git.process("cat-file", "--batch") as process:
        for entry in sorted(entries, key=lambda entry: entry.mode == LINK):
            content = await _content(process, entry)
            target = root / entry.path
            target.parent.mkdir(parents=True, exist_ok=True)
            if entry.mode == LINK:
                _link(entry.path, os.fsdecode(content), target)
            else:
                target.write_bytes(content)


async def _content(process: asyncio.subprocess.Process, entry: TreeEntry) -> bytes:
    """Return the bytes of one file."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(f"{entry.digest}\n".encode())
        await process.stdin.drain()
        header = (await process.stdout.readline()).split()
        if header[1:2] != [b"blob"]:
            raise GitFailed(f"{entry.path} cannot be read from the mirror")
        content = await process.stdout.readexactly(int(header[2]) + 1)
    except (BrokenPipeError, ConnectionResetError, asyncio.IncompleteReadError) as error:
        raise GitFailed(f"{entry.path} cannot be read from the mirror") from error
    return content[:-1]


def _link(path: str, target: str, place: Path) -> None:
    """Make a symbolic link.

    Errors: SpecError if it leads out of the tree.
    """
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if posixpath.isabs(target) or inside.split("/")[0] == "..":
        outside = (f"{path}: a link out of the repository, to {target}: copy the file into it, "
                   "or remove the link")
        raise SpecError((outside,))
    place.symlink_to(target)


def sweep(trees: Path, newest: Path, kept: str = "") -> None:
    """Delete all but the last few trees and that of a commit, and what a crash left unfinished."""
    whole = [path for path in trees.iterdir()
             if not path.name.startswith(".") and path != newest and path.name != kept]
    stale = sorted(whole, key=lambda path: path.stat().st_mtime_ns, reverse=True)[KEEP_TREES - 1:]
    for path in (*stale, *trees.glob(".*.part")):
        shutil.rmtree(path, ignore_errors=True)
