"""The file of persons: who may do what, and the hash of the token that proves it.

    # name    rights                      scrypt:SALT:HASH, or proxy
    ann       read,act,approve            scrypt:6b1f…:9c0d…
    bob       read                        proxy

A token is NAME.SECRET with 256 bits of chance; it is shown once, and only its hash is kept. `proxy`
is a person without a token, whose name a trusted proxy vouches for. The file is readable by its
owner alone (0600), else nobody in it is believed. It is read again when it changes: who is taken
out of it is out at the next request.
"""

import hashlib
import hmac
import os
import re
import secrets
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from controller.errors import SpecError

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9@_-]{0,62}")
PROXIED: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,62}")
"""A name that a proxy vouches for; it stands in no token and no cookie, which a dot divides."""
PROXY: Final = "proxy"
COST: Final = {"n": 1 << 14, "r": 8, "p": 1}
NOBODY: Final = f"scrypt:{'00' * 16}:{'00' * 32}"
"""Compared where there is no such person, so that time tells nothing."""


class Right(StrEnum):
    """What a person may do; none includes another."""

    READ = "read"
    ACT = "act"
    APPROVE = "approve"
    FAILOVER = "failover"


class Person(NamedTuple):
    """Somebody who asks."""

    name: str
    rights: frozenset[Right]
    proof: str = PROXY


class Tokens:
    """The persons of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: tuple[int, int, int] | None = None
        self._persons: dict[str, Person] = {}

    def persons(self) -> dict[str, Person]:
        """Return everybody, by name; nobody where there is no file.

        Errors: SpecError: the file is open to others, or a line is not understood.
        """
        try:
            status = self.path.stat()
        except FileNotFoundError:
            self._read, self._persons = None, {}
            return {}
        except OSError as error:
            raise SpecError((f"{self.path} cannot be read: {error.strerror}",)) from error
        if status.st_mode & 0o077:
            raise SpecError((f"{self.path} is open to others: chmod 600 {self.path}",))
        key = status.st_ino, status.st_mtime_ns, status.st_size
        if key != self._read:
            self._persons, self._read = parse(self.path.read_text(), str(self.path)), key
        return self._persons

    def check(self, token: str) -> Person | None:
        """Return whom a token proves; takes 50 ms by design."""
        name, _, secret = token.partition(".")
        person = self.persons().get(name)
        known = person is not None and person.proof != PROXY
        _, salt, right = (person.proof if person and known else NOBODY).split(":")
        equal = hmac.compare_digest(hashed(secret, bytes.fromhex(salt)), bytes.fromhex(right))
        return person if known and equal else None

    def add(self, name: str, rights: frozenset[Right], *, proxy: bool = False) -> str:
        """Write a person in place of one of the same name; return the token, empty for `proxy`.

        Errors: SpecError.
        """
        if not (PROXIED if proxy else NAME).fullmatch(name):
            raise SpecError((f"{name!r} is no name of a person: write letters, digits, @, _ and -"
                             f"{', . and +' if proxy else ''}",))
        secret, salt = secrets.token_urlsafe(32), secrets.token_bytes(16)
        proof = PROXY if proxy else f"scrypt:{salt.hex()}:{hashed(secret, salt).hex()}"
        self._write(self.persons() | {name: Person(name, rights, proof)})
        return "" if proxy else f"{name}.{secret}"

    def remove(self, name: str) -> bool:
        """Take a person out; return whether there was one."""
        left = dict(self.persons())
        gone = left.pop(name, None) is not None
        if gone:
            self._write(left)
        return gone

    def _write(self, persons: dict[str, Person]) -> None:
        text = "".join(f"{one.name} {','.join(sorted(one.rights))} {one.proof}\n"
                       for one in persons.values())
        aside = self.path.with_name(f"{self.path.name}.new")
        try:
            aside.unlink(missing_ok=True)
            handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self.path)
        except OSError as error:
            raise SpecError((f"{self.path} cannot be written: {error.strerror}",)) from error


def hashed(secret: str, salt: bytes) -> bytes:
    """Return the hash of a secret."""
    return hashlib.scrypt(secret.encode(), salt=salt, **COST, dklen=32)


def parse(text: str, where: str) -> dict[str, Person]:
    """Return the persons in the text of a file.

    Errors: SpecError: a line is not understood; then nobody is believed.
    """
    found: dict[str, Person] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            name, rights, proof = line.split()
            person = Person(name, frozenset(Right(one) for one in rights.split(",")), proof)
        except ValueError:
            person = None
        if (person is None or person.name in found
                or not (PROXIED if person.proof == PROXY else NAME).fullmatch(person.name)
                or not (proof == PROXY
                        or re.fullmatch(r"scrypt:[0-9a-f]{32}:[0-9a-f]{64}", proof))):
            raise SpecError((f"{where}:{number}: the line is not understood, or names somebody"
                             " twice: write it with `hotsite web-token`",))
        found[person.name] = person
    return found
