"""
The datagrams between a guard and its grantors, sealed with a key that the two alone have.

    MAC (32 bytes, HMAC-SHA256 of the rest)   words, one space between them

    ask      hotsite-1 ask    HOST GRANTOR BOOT AT_NS
    answer   hotsite-1 answer HOST GRANTOR BOOT AT_NS yes|no armed|disarmed

The nonce of an ask is the asker's boot and the time of its ask, by its own clock, which only grows.
So an answer says by itself for which ask it is: the asker remembers nothing, one that comes late
counts for the time at which it was asked for, and one that is sent again says nothing new. A
grantor takes each nonce once, and only larger ones after it.

Words instead of JSON: what reads them before it knows who wrote them cannot be made to work hard.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple, Optional

MAC_BYTES = 32
MOST_BYTES = 512
FORM = "hotsite-1"
LONGEST_NS = 1 << 63


class Ask(NamedTuple):
    """A host asks a grantor whether it may go on."""

    host: str
    to: str
    boot: str
    at_ns: int


class Answer(NamedTuple):
    """A grantor answers one ask."""

    ask: Ask
    granted: bool
    armed: bool
    """Whether the grantor counts on this host's guard; False: it was told that there is none."""


def seal(key: bytes, words: "tuple[str, ...]") -> bytes:
    """Return the datagram that says `words`."""
    body = " ".join((FORM, *words)).encode("ascii")
    return hmac.digest(key, body, hashlib.sha256) + body


def words_in(data: bytes) -> "Optional[tuple[str, ...]]":
    """Return what a datagram says, whoever wrote it; None for anything else."""
    if not MAC_BYTES < len(data) <= MOST_BYTES:
        return None
    try:
        form, *words = data[MAC_BYTES:].decode("ascii").split(" ")
    except UnicodeDecodeError:
        return None
    return tuple(words) if form == FORM else None


def is_sealed(key: bytes, data: bytes) -> bool:
    """Return whether somebody with the key wrote a datagram."""
    return hmac.compare_digest(data[:MAC_BYTES],
                               hmac.digest(key, data[MAC_BYTES:], hashlib.sha256))


def seal_ask(key: bytes, ask: Ask) -> bytes:
    """Return an ask as a datagram."""
    return seal(key, ("ask", ask.host, ask.to, ask.boot, str(ask.at_ns)))


def seal_answer(key: bytes, answer: Answer) -> bytes:
    """Return an answer as a datagram."""
    host, to, boot, at_ns = answer.ask
    return seal(key, ("answer", host, to, boot, str(at_ns), "yes" if answer.granted else "no",
                      "armed" if answer.armed else "disarmed"))


def parse_ask(words: "tuple[str, ...]") -> Optional[Ask]:
    """Return the ask that the words of a datagram are, None where they are none."""
    if len(words) != 5 or words[0] != "ask":
        return None
    return _ask(words[1:])


def parse_answer(words: "tuple[str, ...]") -> Optional[Answer]:
    """Return the answer that the words of a datagram are, None where they are none."""
    if len(words) != 7 or words[0] != "answer" or words[5] not in ("yes", "no"):
        return None
    ask = _ask(words[1:5])
    return None if ask is None else Answer(ask, words[5] == "yes", words[6] == "armed")


def _ask(words: "tuple[str, ...]") -> Optional[Ask]:
    host, to, boot, at = words
    if not (at.isdigit() and len(at) < 20 and int(at) < LONGEST_NS):
        return None
    return Ask(host, to, boot, int(at))
