"""Addresses of specs in git, such as `git+ssh://git@host/estate.git#main:specs`, and no others.

Rule 1: no part of an address can be taken for an option or a command by a program that gets it.
"""

import re
from dataclasses import dataclass
from typing import Final

from controller.errors import SpecError

EXAMPLE: Final = "git+ssh://git@host/estate.git#main"
SCHEMES: Final = ("file", "https", "ssh")

_ADDRESS = re.compile(r"git\+(?P<scheme>[a-z]+)://(?P<place>[^/#]*)(?P<path>/[^#]*)#(?P<rest>.+)")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_BRANCH = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._/+-]*[A-Za-z0-9_+-])?")
_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ /+-]*")


@dataclass(frozen=True, slots=True)
class GitAddress:
    """Which branch of which repository, and which folder of it."""

    url: str
    """As git takes it; without a password."""
    scheme: str
    branch: str
    folder: str = ""
    """Relative, without slashes at its ends; empty for the whole tree."""

    def __str__(self) -> str:
        return f"git+{self.url}#{self.branch}" + (f":{self.folder}" if self.folder else "")


def parse_git_address(text: str) -> GitAddress:
    """Return the address that `text` is.

    Errors: SpecError saying what to write instead.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or not text.isprintable() or " " in match["place"] + match["path"]:
        raise _wrong(text, f"write it like {EXAMPLE}")
    if match["scheme"] not in SCHEMES:
        raise _wrong(text, f"only git+{', git+'.join(SCHEMES)} are allowed")
    _check_place(text, match["scheme"], match["place"])
    branch, _, folder = match["rest"].partition(":")
    if not is_branch(branch):
        raise _wrong(text, f"{branch!r} cannot be a branch")
    folder = folder.strip("/")
    if folder and (not _FOLDER.fullmatch(folder) or ".." in folder.split("/")):
        raise _wrong(text, f"{folder!r} cannot be a folder of it")
    url = f"{match['scheme']}://{match['place']}{match['path']}"
    return GitAddress(url, match["scheme"], branch, folder)


def is_branch(name: str) -> bool:
    """Return whether git accepts `name` as a branch, and no program takes it for an option."""
    parts = name.split("/")
    return (_BRANCH.fullmatch(name) is not None and ".." not in name
            and not any(not part or part.startswith(".") or part.endswith(".lock")
                        for part in parts))


def _check_place(text: str, scheme: str, place: str) -> None:
    """Refuse an address whose part before the path is not a host, with or without user and port."""
    if scheme == "file":
        if place:
            raise _wrong(text, "a file address has three slashes: git+file:///srv/estate.git#main")
        return
    user, at, rest = place.rpartition("@")
    host = re.sub(r":[0-9]{1,5}$", "", rest)
    if ":" in user:
        shown = re.sub(r"://([^:/@]*):[^/]*@", r"://\1:***@", text)
        raise _wrong(shown, "leave the password out, since everybody could see"
                                              " it; use an ssh key")
    if not _HOST.fullmatch(host) or (at and not _USER.fullmatch(user)):
        raise _wrong(text, f"{place!r} is no host: write it like {EXAMPLE}")


def _wrong(text: str, what: str) -> SpecError:
    """Return the error about a whole address."""
    return SpecError((f"the source {text!r} is not understood: {what}",))
