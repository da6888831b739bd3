"""The key file's own safety: what others can read is no secret."""

import stat
from pathlib import Path

from controller.errors import Refused
from controller.transport.base import Endpoint

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def check_private(endpoint: Endpoint) -> float:
    """Return when the key file last changed.

    Errors: Refused when it is missing, or open to other accounts.
    """
    path = Path(endpoint.key_file)
    try:
        found = path.stat()
    except OSError as error:
        raise Refused(f"the key file {path} for {endpoint.name} cannot be read:"
                      f" {error.strerror}") from error
    if found.st_mode & OTHERS:
        raise Refused(f"the key file {path} is open to other accounts:"
                      f" run chmod 600 {path}")
    return found.st_mtime
