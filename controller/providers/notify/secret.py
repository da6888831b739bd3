"""A secret of one line, read from a file that its owner alone can read; never shown or kept."""

import os
import re
import stat
from pathlib import Path
from typing import Final

from controller.errors import Refused

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
MOST_BYTES: Final = 8192
WORD: Final = re.compile(r"[\x21-\x7e]+")
URL: Final = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+(/[\x21-\x7e]*)?")


def read_secret(path: str, what: str) -> str:
    """Return the one word in a file.

    Errors: Refused, without a letter of it.
    """
    try:
        with Path(path).open("rb") as file:
            found = os.fstat(file.fileno())
            text = file.read(MOST_BYTES).decode(errors="replace").strip()
    except OSError as error:
        raise Refused(f"{what}, {path}, cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"{what}, {path}, is no file")
    if found.st_mode & OTHERS:
        raise Refused(f"{what}, {path}, is open to other accounts: run chmod 600 {path}")
    if not WORD.fullmatch(text):
        raise Refused(f"{what}, {path}, must hold one word and nothing else")
    return text


def read_url(url: str | None, path: str | None, what: str) -> str:
    """Return an address that a spec holds, or the file that it names.

    Errors: Refused, without a letter of what a file holds.
    """
    if path is None:
        assert url is not None, "the spec has one of both"
        return url
    found = read_secret(path, what)
    if not URL.fullmatch(found):
        raise Refused(f"{what}, {path}, holds no address of the form https://HOST/PATH")
    return found
