"""Write a whole folder of specs, or nothing of it: into a folder beside, which is then renamed.

Rule 1: a folder that is there is never written to: what is new is proposed as a patch.
"""

import difflib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from controller.errors import Refused

_STAGED: Final = ".import-"


@contextmanager
def staged(folder: Path, files: Mapping[str, str]) -> Iterator[Path]:
    """Yield a new folder beside `folder` with these files; it is gone afterwards unless published.

    What an import left that was killed is cleared first. Errors: Refused.
    """
    beside = folder.parent / f".{folder.name}{_STAGED}{os.getpid()}"
    try:
        clear(folder)
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        for name, text in files.items():
            path = beside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise Refused(f"{folder} cannot be written: {error.strerror}: {error.filename}"
                      ) from error
    try:
        yield beside
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def clear(folder: Path) -> None:
    """Remove the folders that imports which have ended left beside `folder`."""
    for left in folder.parent.glob(f".{folder.name}{_STAGED}*"):
        pid = left.name.rpartition("-")[2]
        if re.fullmatch("[0-9]+", pid) and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)


def publish(beside: Path, folder: Path) -> None:
    """Give a staged folder its name.

    Errors: Refused when something has that name already.
    """
    try:
        if folder.is_symlink() or (folder.exists() and (not folder.is_dir()
                                                        or any(folder.iterdir()))):
            raise Refused(f"{folder} is there by now: it is left as it is")
        beside.rename(folder)
        handle = os.open(folder.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise Refused(f"{folder} cannot be written: {error.strerror}") from error


def texts_of(folder: Path) -> dict[str, str]:
    """Return the text files of a folder by name, hidden ones left out.

    Errors: Refused.
    """
    found = {}
    try:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and not any(part.startswith(".") for part in name.parts):
                found[name.as_posix()] = path.read_bytes().decode()
    except UnicodeDecodeError:
        raise Refused(f"{path} is no text: an import reads folders of specs alone") from None
    except OSError as error:
        raise Refused(f"{folder} cannot be read: {error.strerror}") from error
    return found


def unified_diff(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return what changes from one set of files to another, as `patch -p1` takes it."""
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        for name in sorted(after) if before.get(name) != after[name]
        for line in difflib.unified_diff(
            _lines(before.get(name, "")), _lines(after[name]),
            f"a/{name}" if name in before else "/dev/null", f"b/{name}"))


def _lines(text: str) -> list[str]:
    """Return the lines of a text; only a newline ends one, as for `patch`."""
    return [f"{line}\n" for line in text.split("\n")[:-1]] + (
        [text.rpartition("\n")[2]] if text and not text.endswith("\n") else [])
