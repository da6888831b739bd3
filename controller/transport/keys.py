"""SSH keys: one-time keys that are never written to a file, and the hosts' pinned keys."""

from dataclasses import dataclass, field

import asyncssh

from controller.errors import Refused
from controller.transport.base import Endpoint


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
    """Return the known host keys of `endpoint`, each as its type and base64 text.

    Errors: Refused when the known-hosts file cannot be read or has no key for it.
    """
    try:
        known = asyncssh.read_known_hosts(endpoint.known_hosts)
        keys = known.match(endpoint.address, endpoint.address, endpoint.port)[0]
    except (OSError, ValueError) as error:
        raise Refused(f"the file of host keys {endpoint.known_hosts} cannot be used:"
                      f" {error}") from error
    if not keys:
        raise Refused(f"the file of host keys {endpoint.known_hosts} has none for {endpoint.name}"
                      f" at {endpoint.address}: put it there")
    return tuple(key.export_public_key("openssh").decode().strip() for key in keys)
