"""Host keys before any login: what a host shows, what files of known hosts say, one more line.

A key that is shown proves nothing by itself: whoever is in between shows one, too. So showing and
believing are apart: here it is only read. Whether it is believed is decided in
`adoption/host_keys.py`, by a fingerprint from elsewhere, by a file, or by a person.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import tempfile
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import asyncssh

from controller.adoption.host_keys import HostKey, KnownKey
from controller.errors import Refused, Unavailable

SHOW_S: Final = 10.0
PREFERRED: Final = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384",
                    "ecdsa-sha2-nistp521", "rsa-sha2-512", "rsa-sha2-256")
HASHED: Final = "|1|"


async def shown_key(address: str, port: int, kinds: Sequence[str] = ()) -> HostKey:
    """Return the key that a host shows, of one of `kinds` if it has one.

    Errors: Unavailable with a sentence.
    """
    wanted = [name for kind in kinds for name in algorithms_of(kind)]
    order = [*wanted, *(name for name in PREFERRED if name not in wanted)]
    try:
        async with asyncio.timeout(SHOW_S):
            key = await asyncssh.get_server_host_key(
                address, port, config=None, server_host_key_algs=order, client_version="hotsite")
    except TimeoutError:
        raise Unavailable(f"{address}:{port} did not show its host key within {SHOW_S:g} s"
                          ) from None
    except OSError as error:
        raise Unavailable(f"{address}:{port} cannot be reached: {error.strerror or error}"
                          ) from error
    except (asyncssh.Error, ValueError) as error:
        raise Unavailable(f"{address}:{port} broke off before it showed a host key: {error}"
                          ) from error
    if key is None:
        raise Unavailable(f"{address}:{port} shows no host key")
    return host_key(key.export_public_key("openssh").decode())


def algorithms_of(kind: str) -> tuple[str, ...]:
    """Return the signature algorithms of a kind of key."""
    return ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)


def host_key(text: str) -> HostKey:
    """Return a key from its type and base64 text, whatever comment follows."""
    kind, encoded = text.split()[:2]
    digest = hashlib.sha256(base64.b64decode(encoded, validate=True)).digest()
    return HostKey(kind, encoded, "SHA256:" + base64.b64encode(digest).decode().rstrip("="))


def known_keys(files: Iterable[Path], address: str, port: int) -> list[KnownKey]:
    """Return every key of these files, each with whether it is for that address.

    A line that cannot be understood is left out, as ssh does. Errors: Refused for a file that
    cannot be read; one that is not there has no keys.
    """
    found: list[KnownKey] = []
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Refused(f"the file of host keys {file} cannot be read: {error.strerror}"
                          ) from error
        for number, line in enumerate(lines, start=1):
            known = _known_key(line, address, port, f"{file}:{number}")
            if known is not None:
                found.append(known)
    return found


def _known_key(line: str, address: str, port: int, where: str) -> KnownKey | None:
    words = line.split()
    marker = words.pop(0) if words and words[0].startswith("@") else ""
    if len(words) < 3 or words[0].startswith("#"):
        return None
    try:
        key = host_key(" ".join(words[1:3]))
    except (ValueError, binascii.Error):
        return None
    names = tuple(words[0].split(","))
    return KnownKey(key, where, tuple(name for name in names if not name.startswith(HASHED)),
                    matches(names, address, port), marker.removeprefix("@"))


def matches(patterns: Iterable[str], address: str, port: int) -> bool:
    """Return whether a line's names mean an address; one with a port of its own needs brackets."""
    name = address if port == 22 else f"[{address}]:{port}"
    found = False
    for pattern in patterns:
        if pattern.startswith(HASHED):
            found = found or _is_hash_of(pattern, name)
        elif pattern.startswith("!"):
            if _fits(name, pattern[1:]):
                return False
        else:
            found = found or _fits(name, pattern)
    return found


def _fits(name: str, pattern: str) -> bool:
    """Return whether a name fits a pattern, in which only `*` and `?` are special."""
    return fnmatchcase(name.lower(), pattern.lower().replace("[", "[[]"))


def _is_hash_of(pattern: str, name: str) -> bool:
    """Return whether a hashed name is that name; source: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT."""
    try:
        salt, digest = (base64.b64decode(part) for part in pattern.split("|")[2:4])
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)


def remember(file: Path, keys: Iterable[tuple[str, int, HostKey]]) -> None:
    """Add lines to a file of known hosts, whole or not at all.

    Errors: Refused when it cannot be written.
    """
    lines = [f"{address if port == 22 else f'[{address}]:{port}'} {key.kind} {key.encoded}\n"
             for address, port, key in keys]
    part = ""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        if before and not before.endswith("\n"):
            before += "\n"
        handle, part = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(before + "".join(lines))
            os.fchmod(out.fileno(), 0o644)
            out.flush()
            os.fsync(out.fileno())
        Path(part).replace(file)
    except OSError as error:
        Path(part).unlink(missing_ok=True) if part else None
        raise Refused(f"the file of host keys {file} cannot be written: {error.strerror}"
                      ) from error
