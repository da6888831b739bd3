"""
What a guard and a grantor are told: one file each in their folder, 0600, since the keys are in it.

    guard.json     {"digest", "host", "key", "grantors": [{"name", "address", "port"}], "victims",
                    "pids", "deadline_s", "every_s", "kill_s", "feed_s", "watchdog_s", "watchdog"}
    grantor.json   {"digest", "name", "address", "port", "keys": {host: key}}

The controller writes them; they stay right while it is gone. `digest` is the controller's word for
all the rest but the keys: by it, it sees what is in force. A file that makes no sense is refused
when it is written, and passed over by whoever runs already.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import socket
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from guard.errors import Refused

GUARD, GRANTOR = "guard.json", "grantor.json"
MOST_GRANTORS = 64
MOST_VICTIMS = 20_000
MOST_HOSTS = 5_000
LEAST_KEY_BYTES = 32


class Peer(NamedTuple):
    """One grantor."""

    name: str
    address: "Tuple[str, int]"

    @property
    def family(self) -> int:
        """Return the family of its address."""
        return family_of(self.address[0])


class GuardConfig(NamedTuple):
    """What a guard is told."""

    digest: str
    host: str
    key: bytes
    grantors: "Tuple[Peer, ...]"
    victims: "Tuple[str, ...]"
    """The libvirt names of the guests that it may end."""
    pids: str
    """The folder in which libvirt writes their pid files."""
    deadline_s: float
    every_s: float
    kill_s: float
    feed_s: float
    watchdog_s: float
    watchdog: Optional[str]


class GrantorConfig(NamedTuple):
    """What a grantor is told."""

    digest: str
    name: str
    address: "Tuple[str, int]"
    keys: "Dict[str, bytes]"

    @property
    def family(self) -> int:
        """Return the family of its address."""
        return family_of(self.address[0])


def family_of(address: str) -> int:
    """Return the family of an address that is written as numbers."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def parse_guard(told: Any) -> GuardConfig:
    """Return what a guard is told; Refused where it makes no sense."""
    with _as_told():
        grantors = tuple(Peer(_word(one["name"]), _address(one["address"], one["port"]))
                         for one in told["grantors"])
        if len(grantors) > MOST_GRANTORS or len(told["victims"]) > MOST_VICTIMS:
            raise Refused("more than %d grantors, or %d guests" % (MOST_GRANTORS, MOST_VICTIMS))
        watchdog = told.get("watchdog")
        return GuardConfig(
            _word(told["digest"]), _word(told["host"]), _key(told["key"]), grantors,
            tuple(_file_name(name) for name in told["victims"]), str(told["pids"]),
            *(_seconds(told[name]) for name in ("deadline_s", "every_s", "kill_s", "feed_s",
                                                "watchdog_s")),
            None if watchdog is None else str(watchdog))


def parse_grantor(told: Any) -> GrantorConfig:
    """Return what a grantor is told; Refused where it makes no sense."""
    with _as_told():
        if len(told["keys"]) > MOST_HOSTS:
            raise Refused("more than %d hosts" % MOST_HOSTS)
        return GrantorConfig(_word(told["digest"]), _word(told["name"]),
                             _address(told["address"], told["port"]),
                             {_word(host): _key(key) for host, key in told["keys"].items()})


@contextlib.contextmanager
def _as_told() -> Any:
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Refused("what it was told makes no sense: %r" % error) from None


def _word(text: Any) -> str:
    if not (isinstance(text, str) and text and text.isascii() and text.isprintable()
            and " " not in text and len(text) <= 64):
        raise ValueError("%r is no word" % (text,))
    return text


def _file_name(text: Any) -> str:
    if not isinstance(text, str) or not text or "/" in text or "\0" in text or "," in text:
        raise ValueError("%r is no name of a guest" % (text,))
    return text


def _address(text: Any, port: Any) -> Tuple[str, int]:
    if not (isinstance(port, int) and 0 < port < 1 << 16):
        raise ValueError("%r is no port" % (port,))
    return str(ipaddress.ip_address(text)), port     # a name would have to be looked up


def _key(text: Any) -> bytes:
    key = bytes.fromhex(text)
    if len(key) < LEAST_KEY_BYTES:
        raise ValueError("a key has %d bytes at least" % LEAST_KEY_BYTES)
    return key


def _seconds(number: Any) -> float:
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not (
            0.01 <= number <= 86400):
        raise ValueError("%r is no time in seconds" % (number,))
    return float(number)


def load(folder: str, name: str) -> Any:
    """Return what one of the files holds; Refused where there is none."""
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise Refused("%s cannot be read: %s" % (os.path.join(folder, name), error)) from None


def write(folder: str, name: str, told: Dict[str, Any]) -> None:
    """Write one of the files, whole or not at all; nobody else can read it."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(folder, name)
    part = "%s.%d.part" % (path, os.getpid())
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(told, file)
        os.rename(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


class Watched:
    """A file that is read again when another has taken its place."""

    def __init__(self, folder: str, name: str) -> None:
        self._path = os.path.join(folder, name)
        self._folder, self._name = folder, name
        self._version: List[int] = []

    def changed(self) -> Any:
        """Return what it holds if that is new; else, and where it cannot be read, None."""
        try:
            found = os.stat(self._path)
            version = [found.st_ino, found.st_mtime_ns, found.st_size]
            if version == self._version:
                return None
            self._version = version
            return load(self._folder, self._name)
        except (OSError, Refused):
            return None
