"""
The term of the controller that started this mover, compared again before each request.

HOTSITE_TERM is "TERM HOLDER FOLDER"; unset, no lease is declared and nothing is compared. The files
in that folder are those of the controller's providers/termed.py, and are used in the same way: the
term is compared under the first lock, and the second is held while the request is carried out.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import Iterator

from mover.errors import Refused, TryAgain


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Carry out one request, unless another controller conducts by now."""
    words = os.environ.get("HOTSITE_TERM", "").split(" ", 2)
    if len(words) != 3:
        yield
        return
    number, holder, folder = words
    with _locked(os.path.join(folder, "term.lock")) as lock:
        _compare(int(number), holder, os.path.join(folder, "term"))
        with _locked(os.path.join(folder, "term.running")):
            fcntl.flock(lock, fcntl.LOCK_UN)
            yield


@contextlib.contextmanager
def _locked(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield descriptor
    finally:
        os.close(descriptor)


def _compare(number: int, holder: str, path: str) -> None:
    try:
        with open(path, encoding="utf-8") as file:
            noted, _, owner = file.readline().rstrip("\n").partition(" ")
    except FileNotFoundError:
        raise TryAgain("%s is gone since this mover was started" % path) from None
    if not noted.isdigit() or not owner:
        raise TryAgain("%s cannot be understood" % path)
    if (int(noted), owner) != (number, holder):
        raise Refused("%s conducts in term %s, and this controller had term %d"
                      % (owner, noted, number))
