"""
What can go wrong, by what the caller should do next; the exit status says which.

* MoverError
  + Refused   1  it did not happen and never will as asked
  + TryAgain  2  it did not happen, or not wholly; doing it again is safe
    - Damaged    bytes are not what their hash says
    - Unreached  the other host was not reached over this route: another route may work
  + Unknown   3  it may have happened: look before anything else
"""

from __future__ import annotations

import contextlib
import errno
from typing import Iterator

UNREADABLE = (errno.EIO, errno.EUCLEAN, errno.EBADMSG)
"""A bad sector, and a file system's own tables or checks of them that are damaged."""
NO_FILE = (errno.EISDIR, errno.ELOOP, errno.ENOTDIR, errno.ENXIO)
"""A folder, a link to itself or a socket has the file's name."""


class MoverError(Exception):
    """Root of every error raised on purpose; the text is a sentence."""

    status = 3
    name = "unknown"


class Refused(MoverError):
    """The request cannot be done as it is, and nothing was changed."""

    status = 1
    name = "refused"


class TryAgain(MoverError):
    """It was not completed; all restore points are as they were."""

    status = 2
    name = "try again"


class Damaged(TryAgain):
    """Bytes do not have the hash that was stored or sent with them."""


class Unreached(TryAgain):
    """ssh, or whatever program was to start the receiver, ended before the receiver was ready."""

    name = "unreached"


class Unknown(MoverError):
    """It may or may not have happened."""


@contextlib.contextmanager
def unreadable_is_damaged(path: str) -> Iterator[None]:
    """Turn the I/O errors of a bad disk, and of an odd file, into Damaged."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNREADABLE + NO_FILE:
            raise
        raise Damaged("%s cannot be read: %s" % (path, error.strerror)) from None
