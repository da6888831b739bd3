"""Compress a small file into one line of text: NVRAM, which firmware pads (AAVMF to 64 MiB)."""

from __future__ import annotations

import base64
import zlib

from mover.errors import Refused

MOST_BYTES = 64 << 20
MOST_PACKED_BYTES = 8 << 20


class TooLarge(Exception):
    """The data does not fit into one line; the text says which limit it exceeds."""


def pack_line(data: bytes) -> str:
    """Return data as one line of text."""
    if len(data) > MOST_BYTES:
        raise TooLarge("is larger than %d MiB" % (MOST_BYTES >> 20))
    packed = zlib.compress(data, 1)
    if len(packed) > MOST_PACKED_BYTES:
        raise TooLarge("is larger than %d MiB when it is compressed" % (MOST_PACKED_BYTES >> 20))
    return base64.b64encode(packed).decode()


def unpack_line(text: str) -> bytes:
    """Return the data that `pack_line` made a line of; Refused if it is none."""
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(base64.b64decode(text), MOST_BYTES + 1)
    except (ValueError, zlib.error) as error:
        raise Refused("compressed data cannot be read: %s" % error) from None
    if not inflater.eof or len(data) > MOST_BYTES:
        raise Refused("compressed data is cut short, or larger than %d MiB" % (MOST_BYTES >> 20))
    return data
