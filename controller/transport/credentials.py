"""What a login is made with: the declared key, certificate and agent, and one file of host keys.

Nothing else is looked at: no file of the user's, no agent of the environment. A private key file
must be readable by its owner alone. Where `keyFile` names a public key (`.pub`), the agent holds
its private half, and no other key of the agent is offered: sshd breaks off after a few wrong ones.
"""

import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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

    @asynccontextmanager
    async def options(self, endpoint: Endpoint) -> AsyncIterator[dict[str, Any]]:
        """Yield the options of a strict login; while they are used, the agent can be asked to sign.

        Errors: Refused.
        """
        fixed = {
            "known_hosts": self._known_hosts(endpoint), "agent_path": None,
            "agent_forwarding": False, "x11_forwarding": False, "preferred_auth": "publickey",
            "password_auth": False, "kbdint_auth": False, "host_based_auth": False,
            "gss_auth": False, "gss_kex": False, "compression_algs": ["none"],
            "encryption_algs": list(CIPHERS), "client_version": "hotsite",
            "keepalive_interval": self._keepalive_s, "keepalive_count_max": 3,
        }
        own = [] if is_public(endpoint) else [self._key(endpoint)]
        if not endpoint.agent:
            yield {**fixed, "client_keys": own}
            return
        try:
            async with asyncssh.connect_agent(endpoint.agent) as agent:
                keys = await agent.get_keys(identities_of(endpoint))
                if not [*own, *keys]:
                    raise Refused(f"the ssh-agent at {endpoint.agent} holds no key that may be"
                                  f" used for {endpoint.name}: run ssh-add")
                yield {**fixed, "client_keys": [*own, *keys]}
        except (OSError, asyncssh.ChannelOpenError) as error:
            raise Refused(f"the ssh-agent at {endpoint.agent} cannot be asked: {error}") from error

    def _key(self, endpoint: Endpoint) -> Any:
        """Return the private key, with its certificate if there is one; read again when changed."""
        key = self._private(endpoint)
        if not endpoint.certificate_file:
            return key
        try:
            return key, asyncssh.read_certificate(endpoint.certificate_file)
        except (OSError, asyncssh.KeyImportError) as error:
            raise Refused(f"the certificate {endpoint.certificate_file} cannot be used:"
                          f" {error}") from error

    def _private(self, endpoint: Endpoint) -> asyncssh.SSHKey:
        changed_at = check_private(endpoint)
        if (found := self._keys.get((endpoint.key_file, changed_at))) is None:
            try:
                found = asyncssh.read_private_key(endpoint.key_file)
            except (OSError, asyncssh.KeyImportError) as error:
                raise Refused(f"the key file {endpoint.key_file} cannot be used: {error}; it must"
                              " be a private key without a passphrase") from error
            self._keys = {known: key for known, key in self._keys.items()
                          if known[0] != endpoint.key_file}
            self._keys[endpoint.key_file, changed_at] = found
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


def is_public(endpoint: Endpoint) -> bool:
    """Return whether no private key file is declared: the agent has the key."""
    return not endpoint.key_file or endpoint.key_file.endswith(".pub")


def identities_of(endpoint: Endpoint) -> list[bytes] | None:
    """Return which keys of the agent may be used; None: all.

    Errors: Refused.
    """
    if not is_public(endpoint) or not endpoint.key_file:
        return None
    try:
        return [asyncssh.read_public_key(endpoint.key_file).public_data]
    except (OSError, asyncssh.KeyImportError) as error:
        raise Refused(f"the public key {endpoint.key_file} cannot be used: {error}") from error


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
