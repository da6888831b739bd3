"""What lies in a source and is not read: refused by name where it is a spec, else told.

Rule 1: a part of the specs that goes missing looks like machines that left. So nothing that could
declare one is passed over: a hidden file that declares something is refused, and a submodule that
is not checked out, too. Everything else that is not read is listed, for `validate` to show.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from controller.model.desired import KINDS
from controller.source.problems import Problem

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


def pointer(data: bytes) -> str:
    """Return why the bytes stand for a file that is elsewhere; empty when they are the file."""
    return next((why for mark, why in POINTERS if data.startswith(mark)), "")


def hidden_specs(root: Path, hidden: Iterable[str], read: frozenset[Path]) -> Iterator[Problem]:
    """Yield each file below a name that begins with a dot which declares something nobody reads.

    Shapes: `hidden` are names relative to `root`; `read` are the files that are read all the same,
    since a link leads to them.
    """
    for name in hidden:
        for path in spec_files(root / name):
            kind = declares(path) if path not in read else ""
            if kind:
                yield Problem(str(path.relative_to(root)), 0, 0, (
                    f"declares a {kind} and is not read, since {part(path.relative_to(root))}"
                    " begins with a dot: rename it, or move it out of the specs"))


def part(path: Path) -> str:
    """Return the first part of a path that hides it."""
    return next(name for name in path.parts if name.startswith("."))


def spec_files(path: Path) -> list[Path]:
    """Return the files of specs at or below a hidden path; none where there are too many files."""
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


SUFFIXES: Final = (".yaml", ".yml", ".json")


def is_spec(name: str) -> bool:
    """Return whether a file of that name holds specs: its ending says so, in any case."""
    return name.lower().endswith(SUFFIXES)


def declares(path: Path) -> str:
    """Return the first kind of ours that a file declares; empty when it is somebody else's."""
    try:
        with path.open("rb") as file:
            data = file.read(HIDDEN_BYTES_MAX)
    except OSError:
        return ""  # what cannot be read is listed as not read
    kind = _KIND.search(data)
    versions = set(_VERSION.findall(data))
    ours = not versions or any(version.startswith(b"hotsite/") for version in versions)
    return kind[1].decode() if kind and ours else ""


def missing_submodules(root: Path) -> Iterator[Problem]:
    """Yield each submodule of the checkout around `root` that should hold files, and is empty.

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
