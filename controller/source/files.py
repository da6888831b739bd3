"""Which files of a folder hold specs, and their bytes; nothing outside the folder is ever read."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from controller.source.problems import Problem

SUFFIXES = (".yaml", ".yml", ".json")
FILE_BYTES = 8 << 20        # some 25,000 VMs
TOTAL_BYTES = 256 << 20
DEPTH = 32                  # folders below folders


class Found(NamedTuple):
    """One file of specs: what it is called and where it really is."""

    name: str
    """Relative to the source, with slashes."""
    path: Path


def find_files(source: Path) -> tuple[list[Found], list[Problem]]:
    """Return every file of specs at `source`, sorted by name, and what stands in the way.

    A folder is read with the folders below it; names that begin with a dot are passed over. A
    link is followed only to a place inside the folder, and no file is read twice.
    """
    if source.is_file():
        return [Found(source.name, source.resolve())], []
    if not source.is_dir():
        return [], [Problem(source.name, 1, 1, f"there is no folder {source}: check the path")]
    root = source.resolve()
    files: list[Found] = []
    problems: list[Problem] = []
    for item in walk(root, root, ""):
        if isinstance(item, Problem):
            problems.append(item)
        else:
            files.append(item)
    direct = sorted(files, key=lambda found: (str(found.path) != str(root / found.name), found))
    unique = {found.path: found for found in reversed(direct)}
    return sorted(unique.values()), problems


def walk(root: Path, folder: Path, prefix: str) -> Iterator[Found | Problem]:
    """Yield what is in `folder`, whose name below the source is `prefix`."""
    if prefix.count("/") > DEPTH:
        yield Problem(prefix, 1, 1, f"more than {DEPTH} folders deep, or a link that leads back"
                                    " into itself: remove it")
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield Problem(prefix or folder.name, 1, 1, f"cannot be read: {error.strerror}: {_REMEDY}")
        return
    for entry in entries:
        if not entry.name.startswith("."):
            yield from visit(root, entry, prefix + entry.name)


_REMEDY = "let the user that runs hotsite read it"


def visit(root: Path, entry: "os.DirEntry[str]", name: str) -> Iterator[Found | Problem]:
    """Yield the file of specs that `entry` is, or those below it."""
    wanted = name.endswith(SUFFIXES)
    path = Path(entry.path)
    if entry.is_symlink():
        path = Path(os.path.realpath(entry.path))
        if not path.is_relative_to(root):
            if wanted or path.is_dir():
                yield Problem(name, 1, 1, f"a link out of the folder, to {path}: copy the file"
                                          " here or remove the link")
            return
        if wanted and not path.exists():
            yield Problem(name, 1, 1, f"a link to {path}, which is not there: remove the link")
            return
        if path in (root, *Path(entry.path).parents):
            return  # it leads back to where we come from
    if path.is_dir():
        yield from walk(root, path, name + "/")
    elif wanted:
        yield Found(name, path)


def read_file(found: Found) -> bytes | Problem:
    """Return the bytes of a file, or why they cannot be had."""
    try:
        handle = os.open(found.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return Problem(found.name, 1, 1, "vanished while it was being read: run it again")
    except OSError as error:
        return Problem(found.name, 1, 1, f"cannot be read: {error.strerror}: {_REMEDY}")
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            return Problem(found.name, 1, 1, "not a regular file: remove it or rename it")
        if status.st_size > FILE_BYTES:
            return too_long(found)
        data = file.read(FILE_BYTES + 1)
    return too_long(found) if len(data) > FILE_BYTES else data


def too_long(found: Found) -> Problem:
    """Return the problem of a file over the limit."""
    return Problem(found.name, 1, 1, f"larger than {FILE_BYTES >> 20} MiB: split it into several"
                                     " files")
