"""Which files of a folder hold specs, and their bytes; nothing outside the folder is ever read."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from controller.source.problems import Problem
from controller.source.unread import GIT, hidden_specs, is_spec, missing_submodules

FILE_BYTES = 8 << 20        # some 25,000 VMs
TOTAL_BYTES = 256 << 20
DEPTH = 32                  # folders below folders


class Found(NamedTuple):
    """One file of specs: what it is called and where it really is."""

    name: str
    """Relative to the source, with slashes."""
    path: Path


class NotRead(NamedTuple):
    """A name that is passed over: it begins with a dot, or its ending is not that of a spec."""

    name: str


class Listing(NamedTuple):
    """What lies in a source: what is read, what stands in the way, and what is not read."""

    files: list[Found]
    problems: list[Problem]
    not_read: tuple[str, ...] = ()


def find_files(source: Path) -> Listing:
    """Return every file of specs at `source`, sorted by name, and what stands in the way.

    A folder is read with the folders below it; a name that begins with a dot is passed over unless
    it declares something. A link is followed only to a place inside the folder, and no file is
    read twice.
    """
    if source.is_file():
        return Listing([Found(source.name, source.resolve())], [])
    if not source.is_dir():
        return Listing([], [Problem(str(source), 0, 0, "there is no such folder: check the path")])
    root = source.resolve()
    files: list[Found] = []
    problems: list[Problem] = []
    not_read: list[str] = []
    for item in walk(root, root, ""):
        if isinstance(item, Problem):
            problems.append(item)
        elif isinstance(item, NotRead):
            not_read.append(item.name)
        else:
            files.append(item)
    direct = sorted(files, key=lambda found: (str(found.path) != str(root / found.name), found))
    unique = {found.path: found for found in reversed(direct)}
    hidden = [name for name in not_read if name.rpartition("/")[2].startswith(".")]
    problems += hidden_specs(root, hidden, frozenset(unique))
    problems += missing_submodules(root)
    return Listing(sorted(unique.values()), problems, tuple(sorted(not_read)))


def walk(root: Path, folder: Path, prefix: str) -> Iterator[Found | NotRead | Problem]:
    """Yield what is in `folder`, whose name below the source is `prefix`."""
    if prefix.count("/") > DEPTH:
        yield Problem(prefix, 0, 0, f"more than {DEPTH} folders deep, or a link that leads back"
                                    " into itself: remove it")
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield Problem(prefix or folder.name, 0, 0, f"cannot be read: {error.strerror}: {_REMEDY}")
        return
    for entry in entries:
        if not entry.name.startswith("."):
            yield from visit(root, entry, prefix + entry.name)
        elif entry.name != GIT:
            yield NotRead(prefix + entry.name)


_REMEDY = "let the user that runs hotsite read it"


def visit(root: Path, entry: "os.DirEntry[str]",
          name: str) -> Iterator[Found | NotRead | Problem]:
    """Yield the file of specs that `entry` is, or those below it."""
    wanted = is_spec(name)
    path = Path(entry.path)
    if entry.is_symlink():
        path = Path(os.path.realpath(entry.path))
        if not path.is_relative_to(root):
            if wanted or path.is_dir():
                yield Problem(name, 0, 0, f"a link out of the folder, to {path}: copy the file"
                                          " here or remove the link")
            return
        if wanted and not path.exists():
            yield Problem(name, 0, 0, f"a link to {path}, which is not there: remove the link")
            return
        if path in (root, *Path(entry.path).parents):
            return  # it leads back to where we come from
    if path.is_dir():
        yield from walk(root, path, name + "/")
    else:
        yield Found(name, path) if wanted else NotRead(name)


def read_file(found: Found) -> bytes | Problem:
    """Return the bytes of a file, or why they cannot be had."""
    try:
        handle = os.open(found.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return Problem(found.name, 0, 0, "vanished while it was being read: run it again")
    except OSError as error:
        return Problem(found.name, 0, 0, f"cannot be read: {error.strerror}: {_REMEDY}")
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            return Problem(found.name, 0, 0, "not a regular file: remove it or rename it")
        if status.st_size > FILE_BYTES:
            return too_long(found)
        data = file.read(FILE_BYTES + 1)
    return too_long(found) if len(data) > FILE_BYTES else data


def too_long(found: Found) -> Problem:
    """Return the problem of a file over the limit."""
    return Problem(found.name, 0, 0, f"larger than {FILE_BYTES >> 20} MiB: split it into several"
                                     " files")
