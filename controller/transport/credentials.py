"""What a login is made with: one private key file and one file of host keys, nothing else.

The private key file must be readable by its owner alone.
"""

import stat
from pathlib import Path
from typing import Any, Final

import asyncssh

from controller.errors import Refused
from controller.transport.base import Endpoint

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
CIPHERS: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com",
                  "chacha20-poly1305@openssh.com", "aes256-ctr", "aes128-ctr")


class Credentials:
    """The options of every login; files are read again when they have changed."""

    def __init__(self, keepalive_s: float) -> None:
        self._keepalive_s = keepalive_s
        self._keys: dict[tuple[str, float], asyncssh.SSHKey] = {}
        self._known: dict[tuple[str, float], asyncssh.SSHKnownHosts] = {}

    def options(self, endpoint: Endpoint) -> dict[str, Any]:
        """Return the options of a strict login: no agent, no password, no file of the user's."""
        return {
            "username": endpoint.user, "client_keys": [self._key(endpoint)],
            "known_hosts": self._known_hosts(endpoint), "agent_path": None,
            "agent_forwarding": False, "x11_forwarding": False, "preferred_auth": "publickey",
            "password_auth": False, "kbdint_auth": False, "host_based_auth": False,
            "gss_auth": False, "gss_kex": False, "compression_algs": ["none"],
            "encryption_algs": list(CIPHERS), "client_version": "hotsite",
            "keepalive_interval": self._keepalive_s, "keepalive_count_max": 3,
        }

    def _key(self, endpoint: Endpoint) -> asyncssh.SSHKey:
        """Return the private key, read again when its file has changed."""
        changed_at = check_private(endpoint)
        if (found := self._keys.get((endpoint.key_file, changed_at))) is None:
            try:
                found = asyncssh.read_private_key(endpoint.key_file)
            except (OSError, asyncssh.KeyImportError) as error:
                raise Refused(f"the key file {endpoint.key_file} cannot be used: {error}; it must"
                              " be a private key without a passphrase") from error
            self._keys = {(endpoint.key_file, changed_at): found}
        return found

    def _known_hosts(self, endpoint: Endpoint) -> asyncssh.SSHKnownHosts:
        """Return the declared host keys, read again when their file has changed."""
        path = endpoint.known_hosts
        try:
            changed_at = Path(path).stat().st_mtime
            if (found := self._known.get((path, changed_at))) is None:
                found = asyncssh.read_known_hosts(path)
                self._known = {(path, changed_at): found}
        except (OSError, ValueError) as error:
            raise Refused(f"the file of host keys {path} cannot be used: {error}; without it no"
                          " host is talked to") from error
        return found


def check_private(endpoint: Endpoint) -> float:
    """Return when the key file was last changed.

    Errors: Refused when it is missing, or readable or writable by other accounts.
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
