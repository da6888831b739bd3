"""The way from a source host to a target host: one key, one command, one address, a few minutes.

Rule 1: the private half is never in a file or in argv; it goes over standard input into memory.
Rule 2: the target's host key is the one that the controller knows it by, whatever its address.
"""

import secrets
import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from controller.errors import ActionError, Refused
from controller.replication.mover import PYTHON, Attendant, NotLetIn, archive_path
from controller.transport.base import Endpoint

ALIAS: Final = "hotsite-target"
CIPHER: Final = "aes128-gcm@openssh.com"
MARK: Final = "hotsite-transfer-"


class KeyPair(Protocol):
    """Both halves of a key, as OpenSSH writes them."""

    @property
    def private(self) -> str:
        """Return the private half."""
        ...

    @property
    def public(self) -> str:
        """Return the public half, without a comment."""
        ...


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where keys come from: new ones, and those by which hosts are known."""

    fresh: Callable[[], KeyPair]
    pinned: Callable[[Endpoint], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Both ends on the replication network."""

    source: str
    target: str


def ssh_argv(endpoint: Endpoint, addresses: Addresses) -> list[str]:
    """Return the ssh that the source's mover starts; `{key}` and `{known}` are files in memory."""
    options = {
        "BatchMode": "yes", "Compression": "no", "StrictHostKeyChecking": "yes",
        "HostKeyAlias": ALIAS, "UserKnownHostsFile": "{known}", "GlobalKnownHostsFile": "/dev/null",
        "IdentityFile": "{key}", "IdentitiesOnly": "yes", "IdentityAgent": "none",
        "PreferredAuthentications": "publickey", "BindAddress": addresses.source,
        "ConnectTimeout": "10", "ServerAliveInterval": "5", "ServerAliveCountMax": "3",
        "LogLevel": "ERROR", "UpdateHostKeys": "no", "ControlPath": "none"}
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-T", "-F", "none", "-c", CIPHER, *words, "-p", str(endpoint.port),
            "-l", endpoint.user, "--", addresses.target, "receive"]


def receive_command(root: str) -> str:
    """Return the one command that the key may run, as a shell reads it."""
    return f"{PYTHON} {archive_path()} receive {shlex.quote(root)}"


def render_known(keys: tuple[str, ...]) -> str:
    """Return the target's host keys as a file of known hosts."""
    return "".join(f"{ALIAS} {key}\n" for key in keys)


@asynccontextmanager
async def open_route(target: Attendant, endpoint: Endpoint, addresses: Addresses, root: str,
                       locksmith: KeySource, lasts_s: float) -> AsyncIterator[dict[str, Any]]:
    """Give what `send` needs to reach the target; the key is taken out again at the end."""
    pair, mark = locksmith.fresh(), MARK + secrets.token_hex(8)
    known = render_known(locksmith.pinned(endpoint))
    failed = f"{target.name} does not let {addresses.source} deliver the copy"
    request = {"key": pair.public, "from": addresses.source, "command": receive_command(root),
               "lasts_s": lasts_s, "mark": mark}
    try:
        try:
            await target.ask("authorize", request, failed=failed)
        except Refused as error:
            raise NotLetIn(str(error)) from error
        yield {"argv": ssh_argv(endpoint, addresses),
               "address": [addresses.target, endpoint.port, addresses.source],
               "files": {"key": pair.private, "known": known}}
    finally:
        with suppress(ActionError):     # it runs out by itself, and is swept up then
            await target.ask("deauthorize", {"mark": mark}, failed=failed)
