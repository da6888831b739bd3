"""The secret that grants are signed with: one on the controllers, one derived for each host.

A host has its own key alone, a grantor those of the hosts that it may grant to. Nodes show the id
of the secret that theirs were derived from, so that another secret is noticed.
"""

import hashlib
import hmac
import stat
from pathlib import Path
from typing import Final

from controller.errors import Refused

LEAST_BYTES: Final = 32
ID_CHARACTERS: Final = 16


def read_secret(path: str) -> bytes:
    """Return the secret in a file.

    Errors: Refused if it cannot be read, if others could read it, or if it is short.
    """
    file = Path(path)
    try:
        mode, secret = file.stat().st_mode, file.read_bytes().strip()
    except OSError as error:
        raise Refused(f"the guards' key {path} cannot be read: {error.strerror}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise Refused(f"others can read the guards' key {path}: chmod 600 {path}")
    if len(secret) < LEAST_BYTES:
        raise Refused(f"the guards' key {path} has {len(secret)} bytes and needs {LEAST_BYTES}:"
                      f" openssl rand -hex 32 >{path}")
    return secret


def derived(secret: bytes, host: str) -> str:
    """Return the key of one host, in hexadecimal digits."""
    return hmac.digest(secret, f"guard:{host}".encode(), hashlib.sha256).hex()


def id_of(secret: bytes) -> str:
    """Return a name of a secret that tells nothing of it."""
    return hmac.digest(secret, b"id", hashlib.sha256).hex()[:ID_CHARACTERS]
