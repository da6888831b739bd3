"""Squeeze a small file that firmware has padded, AAVMF to 64 MiB, so that one line carries it."""

from __future__ import annotations

import base64
import zlib

from mover.errors import Refused

MOST_BYTES = 64 << 20
MOST_SQUEEZED_BYTES = 8 << 20


class TooLarge(Exception):
    """No line carries it; the text says what it is too large for."""


def squeezed(data: bytes) -> str:
    """Return bytes as a line can carry them."""
    if len(data) > MOST_BYTES:
        raise TooLarge("is larger than %d MiB" % (MOST_BYTES >> 20))
    packed = zlib.compress(data, 1)
    if len(packed) > MOST_SQUEEZED_BYTES:
        raise TooLarge("is larger than %d MiB when it is squeezed" % (MOST_SQUEEZED_BYTES >> 20))
    return base64.b64encode(packed).decode()


def unsqueezed(text: str) -> bytes:
    """Return the bytes that were squeezed; Refused for what they cannot be."""
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(base64.b64decode(text), MOST_BYTES + 1)
    except (ValueError, zlib.error) as error:
        raise Refused("what was squeezed cannot be read: %s" % error) from None
    if not inflater.eof or len(data) > MOST_BYTES:
        raise Refused("what was squeezed is cut, or larger than %d MiB" % (MOST_BYTES >> 20))
    return data
