"""Names and passwords, read from where a spec says; never shown, logged or kept anywhere.

Rule 1: a file with a password is readable by its owner alone, as the private key is.
Rule 2: `Source` changes when the file does, even if only touched: whoever remembers that a password
        was refused tries it again then.
"""

import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from controller.errors import Refused
from controller.model.host import CredentialsSpec

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
MOST_BYTES: Final = 65536


@dataclass(frozen=True, slots=True)
class Password:
    """A name and a password; two are equal only if they come from the same writing of the file."""

    username: str
    password: str = field(repr=False)
    source: tuple[str, int, int] = ("", 0, 0)
    """Its place; for a file also which one it is, and when it was last written."""


def read_password(spec: CredentialsSpec, whose: str) -> Password:
    """Return the name and password that `spec` points to.

    Shapes: the file, or the variable, holds JSON: {"username": …, "password": …}.
    Errors: Refused, without a word of the contents.
    """
    if spec.env is not None:
        return _parsed(os.environ.get(spec.env, ""), f"the variable {spec.env}", whose,
                       (spec.env, 0, 0))
    path = Path(spec.file or "")
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            text = file.read(MOST_BYTES).decode(errors="replace")
    except OSError as error:
        raise Refused(f"the password file {path} of {whose} cannot be read:"
                      f" {error.strerror}") from error
    if found.st_mode & OTHERS:
        raise Refused(f"the password file {path} of {whose} is open to other accounts: run chmod"
                      f" 600 {path}")
    return _parsed(text, f"the password file {path}", whose,
                   (str(path), found.st_ino, found.st_mtime_ns))


def _parsed(text: str, where: str, whose: str, source: tuple[str, int, int]) -> Password:
    try:
        content = json.loads(text)
        name, password = content["username"], content["password"]
    except (ValueError, KeyError, TypeError):
        name = password = None
    if not (isinstance(name, str) and isinstance(password, str) and name and password):
        raise Refused(f'{where} of {whose} must hold JSON: {{"username": …, "password": …}}')
    return Password(name, password, source)
