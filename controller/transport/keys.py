"""Keys among hosts: new ones that no file ever holds, and those by which hosts are known."""

from dataclasses import dataclass, field

import asyncssh

from controller.errors import Refused
from controller.transport.base import Endpoint


@dataclass(frozen=True, slots=True)
class OneTimeKey:
    """A key pair that no file ever holds; `private` is in OpenSSH's own form."""

    private: str = field(repr=False)
    public: str
    """Its type and text, without a comment."""


def one_time_key() -> OneTimeKey:
    """Return a new ed25519 key."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    return OneTimeKey(key.export_private_key("openssh").decode(),
                      key.export_public_key("openssh").decode().strip())


def pinned_keys(endpoint: Endpoint) -> tuple[str, ...]:
    """Return the host keys that `endpoint` is known by, each as its type and text.

    Errors: Refused when the file of host keys has none for it.
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
