"""SSH keys: one-time keys that are never written to a file, and the hosts' pinned keys."""

from dataclasses import dataclass, field
from typing import Final

import asyncssh

from controller.errors import Refused
from controller.transport.base import Endpoint

AUTHORITY: Final = "@cert-authority "


@dataclass(frozen=True, slots=True)
class OneTimeKey:
    """A key pair that is never written to a file; `private` is in OpenSSH's format."""

    private: str = field(repr=False)
    public: str
    """Its type and base64 text, without a comment."""


def one_time_key() -> OneTimeKey:
    """Return a new ed25519 key."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    return OneTimeKey(key.export_private_key("openssh").decode(),
                      key.export_public_key("openssh").decode().strip())


def pinned_keys(endpoint: Endpoint) -> tuple[str, ...]:
    """Return lines of a known-hosts file, without names, that hold for `endpoint`.

    Shapes: `ssh-ed25519 AAAA…`, and `@cert-authority ssh-ed25519 AAAA…` for an authority.
    Errors: Refused when the known-hosts file cannot be read or has no key for it.
    """
    try:
        known = asyncssh.read_known_hosts(endpoint.known_hosts)
        keys, authorities, *_ = known.match(endpoint.address, endpoint.address, endpoint.port)
    except (OSError, ValueError) as error:
        raise Refused(f"the file of host keys {endpoint.known_hosts} cannot be used:"
                      f" {error}") from error
    if not [*keys, *authorities]:
        raise Refused(f"the file of host keys {endpoint.known_hosts} has none for {endpoint.name}"
                      f" at {endpoint.address}: put it there")
    return tuple(dict.fromkeys(
        (*map(_text, keys), *(AUTHORITY + _text(key) for key in authorities))))


def _text(key: asyncssh.SSHKey) -> str:
    return key.export_public_key("openssh").decode().strip()
