"""Which files of a source hold specs, and their bytes; nothing outside the folder is ever read.

Rule 1: a part of the specs that goes missing looks like machines that left. So nothing that could
declare one is passed over: a hidden file that declares something is refused, and so is a submodule
that is not checked out. Everything else that is not read is listed, for `validate` to show.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from controller.model.desired import KINDS
from controller.source.problems import Problem

FILE_BYTES = 8 << 20        # some 25,000 VMs
TOTAL_BYTES = 256 << 20
DEPTH = 32                  # folders below folders
SUFFIXES: Final = (".yaml", ".yml", ".json")
_REMEDY = "let the user that runs hotsite read it"
HIDDEN_FILES_MAX: Final = 20_000
"""A hidden folder with more than that is somebody's cache, and is listed without being read."""
HIDDEN_BYTES_MAX: Final = 1 << 20
GIT: Final = ".git"
_KIND = re.compile(rb"""^[ \t]*(?:-[ \t]+|\{[ \t]*)?["']?kind["']?[ \t]*:[ \t]*["']?("""
                   + "|".join(KINDS).encode() + rb""")\b""", re.MULTILINE)
_VERSION = re.compile(rb"""^[ \t]*["']?apiVersion["']?[ \t]*:[ \t]*["']?([^"'\s,]+)""",
                      re.MULTILINE)
_MODULE_PATH = re.compile(r"^[ \t]*path[ \t]*=[ \t]*(.+?)[ \t]*$", re.MULTILINE)
POINTERS: Final = (
    (b"version https://git-lfs.github.com/spec/", "a pointer of git LFS, not the file itself: run"
     " `git lfs pull`, or keep specs in git itself, which a branch that is fetched needs"),
    (b"\0GITCRYPT\0", "encrypted by git-crypt: unlock it; specs hold no secrets, only where they"
     " are kept"),
)


class Found(NamedTuple):
    """One file of specs: its name in the source, and its real path."""

    name: str
    """Relative to the source, with slashes."""
    path: Path


class NotRead(NamedTuple):
    """A name that is passed over: it begins with a dot, or its ending is not that of a spec."""

    name: str


class Listing(NamedTuple):
    """What lies in a source: files to read, problems, and files that are not read."""

    files: list[Found]
    problems: list[Problem]
    not_read: tuple[str, ...] = ()


def find_files(source: Path) -> Listing:
    """Return every file of specs at `source`, sorted by name, and the problems found on the way.

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
            return  # it leads back to a folder that is being read
    if path.is_dir():
        yield from walk(root, path, name + "/")
    else:
        yield Found(name, path) if wanted else NotRead(name)


def read_file(found: Found) -> bytes | Problem:
    """Return the bytes of a file, or why it cannot be read."""
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


def pointer(data: bytes) -> str:
    """Return why the bytes are only a pointer to a file elsewhere; empty if they are the file."""
    return next((why for mark, why in POINTERS if data.startswith(mark)), "")


def hidden_specs(root: Path, hidden: Iterable[str], read: frozenset[Path]) -> Iterator[Problem]:
    """Yield each hidden file that declares something and is not read.

    Shapes: `hidden` are names relative to `root`; `read` are files that are read all the same,
    because a link leads to them.
    """
    for name in hidden:
        for path in spec_files(root / name):
            kind = declares(path) if path not in read else ""
            if kind:
                yield Problem(str(path.relative_to(root)), 0, 0, (
                    f"declares a {kind} and is not read, since {part(path.relative_to(root))}"
                    " begins with a dot: rename it, or move it out of the specs"))


def part(path: Path) -> str:
    """Return the first hidden part of a path."""
    return next(name for name in path.parts if name.startswith("."))


def spec_files(path: Path) -> list[Path]:
    """Return the files of specs at or below a hidden path; none if it holds too many files."""
    if path.is_symlink() or not path.is_dir():
        return [path] if is_spec(path.name) and path.is_file() and not path.is_symlink() else []
    found: list[Path] = []
    count = 0
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if name != GIT)
        count += len(files)
        if count > HIDDEN_FILES_MAX:
            return []
        found += [Path(folder, name) for name in sorted(files) if is_spec(name)]
    return [one for one in found if one.is_file() and not one.is_symlink()]


def is_spec(name: str) -> bool:
    """Return whether a file of that name holds specs: its ending says so, in any case."""
    return name.lower().endswith(SUFFIXES)


def declares(path: Path) -> str:
    """Return the first kind that a file declares for hotsite; empty if it declares none."""
    try:
        with path.open("rb") as file:
            data = file.read(HIDDEN_BYTES_MAX)
    except OSError:
        return ""  # a file that cannot be read is listed as not read
    kind = _KIND.search(data)
    versions = set(_VERSION.findall(data))
    ours = not versions or any(version.startswith(b"hotsite/") for version in versions)
    return kind[1].decode() if kind and ours else ""


def missing_submodules(root: Path) -> Iterator[Problem]:
    """Yield each empty submodule, in the checkout around `root`, that should hold files.

    Source: git leaves an empty folder where a submodule is not checked out (gitmodules(5)).
    """
    top = next((path for path in (root, *root.parents) if (path / GIT).exists()), root)
    try:
        text = (top / ".gitmodules").read_text(errors="replace")
    except OSError:
        return
    for match in _MODULE_PATH.finditer(text):
        place = top / match[1]
        within = place.is_relative_to(root) or root.is_relative_to(place)
        if within and place.is_dir() and not any(place.iterdir()):
            name = str(place.relative_to(root)) if place != root else root.name
            yield Problem(name, 0, 0, "a submodule that is not checked out: run `git submodule"
                                      " update --init`, or copy its files here")
