"""The SSH route from a source host to a target host: one key, one command, one address.

The controller makes a key pair for one slice of one copy. The target's mover adds the public half
to authorized_keys, restricted to the source's address, to `receive` for this replica and to the
copy's time limit. The source's mover gets the private half. At the end the line is taken out again;
after a crash of the controller it expires by itself, and the sweep removes it.

Rule 1: the private half is never in a file or in argv; it goes over standard input into memory.
Rule 2: the target must show the host key that the controller knows, whatever its address.
"""

import secrets
import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from controller.errors import ActionError, Refused
from controller.replication.mover import PYTHON, MoverSession, RouteUnavailable, archive_path
from controller.transport.base import Endpoint
from controller.transport.frame import ENTRY, SHELL, SUDO

AUTHORITY: Final = "@cert-authority "
CIPHER: Final = "aes128-gcm@openssh.com"
RECEIVE_WORD: Final = "hotsite-receive"
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
    """Makes one-time keys, and returns the pinned host keys of an endpoint."""

    new_key: Callable[[], KeyPair]
    host_keys: Callable[[Endpoint], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses of both hosts on the replication network."""

    source: str
    target: str


def ssh_argv(endpoint: Endpoint, addresses: Addresses) -> list[str]:
    """Return the source mover's ssh command; `{key}` and `{known}` become files in memory."""
    options = {
        "BatchMode": "yes", "Compression": "no", "StrictHostKeyChecking": "yes",
        "HostKeyAlias": endpoint.address, "UserKnownHostsFile": "{known}",
        "GlobalKnownHostsFile": "/dev/null",
        "IdentityFile": "{key}", "IdentitiesOnly": "yes", "IdentityAgent": "none",
        "PreferredAuthentications": "publickey", "BindAddress": addresses.source,
        "ConnectTimeout": "10", "ServerAliveInterval": "5", "ServerAliveCountMax": "3",
        "LogLevel": "ERROR", "UpdateHostKeys": "no", "ControlPath": "none"}
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-T", "-F", "none", "-c", CIPHER, *words, "-p", str(endpoint.port),
            "-l", endpoint.user, "--", addresses.target, "receive"]


def receive_command(root: str, *, sudo: bool = False, verb: str = "receive") -> str:
    """Return the only command that the key may run, quoted for a shell.

    Shapes: by sudo it is the one command that sudoers allows; what that is to do is fixed here, and
    goes before what the source sends.
    """
    receive = f"{PYTHON} {archive_path()} {verb} {shlex.quote(root)}"
    if not sudo:
        return receive
    lines = shlex.join((RECEIVE_WORD, f"exec {receive}", RECEIVE_WORD))
    begin = shlex.join((*SUDO, SHELL, "-c", ENTRY))
    return shlex.join((SHELL, "-c",
                       f'{{ printf "%s\\n" {lines}; exec cat; }} | {begin}'))


def render_known(address: str, keys: tuple[str, ...]) -> str:
    """Return the target's host keys, and authorities, as the text of a known-hosts file."""
    return "".join(f"{AUTHORITY}{address} {key.removeprefix(AUTHORITY)}\n"
                   if key.startswith(AUTHORITY) else f"{address} {key}\n" for key in keys)


@asynccontextmanager
async def open_route(target: MoverSession, endpoint: Endpoint, addresses: Addresses, root: str,
                     keys: KeySource, lasts_s: float, verb: str = "receive"
                     ) -> AsyncIterator[dict[str, Any]]:
    """Let the source in and yield what its mover needs to reach the target; undone at the end.

    Shapes: the key runs one verb of the mover for one replica, and nothing else.

    Errors: RouteUnavailable when the target refuses the key; else as MoverSession.ask.
    """
    pair, mark = keys.new_key(), MARK + secrets.token_hex(8)
    known = render_known(endpoint.address, keys.host_keys(endpoint))
    failed = f"{target.name} does not let {addresses.source} deliver the copy"
    request = {"key": pair.public, "from": addresses.source, "lasts_s": lasts_s, "mark": mark,
               "command": receive_command(root, sudo=endpoint.sudo, verb=verb),
               **({"account": endpoint.user} if endpoint.sudo else {})}
    try:
        try:
            await target.ask("authorize", request, failed=failed)
        except Refused as error:
            raise RouteUnavailable(str(error)) from error
        yield {"argv": ssh_argv(endpoint, addresses),
               "address": [addresses.target, endpoint.port, addresses.source],
               "files": {"key": pair.private, "known": known}}
    finally:
        with suppress(ActionError):     # the key expires by itself, and is swept up then
            await target.ask("deauthorize", {"mark": mark}, failed=failed)
