"""
Hash every 64 KiB cluster to 16 bytes: XXH3-128 under the replica's secret, else truncated SHA-256.

A hash shows whether data changed or decayed, not who wrote it: SSH authenticates that. The secret
prevents a guest, which chooses the data, from constructing two clusters with one hash. XXH3 is
libxxhash through ctypes: apt itself brings it to every Debian. Of zeros the hash is 16 zero bytes.
"""

from __future__ import annotations

import ctypes
import hashlib
import struct
from typing import Any, Iterator, Union

from mover.errors import Refused

CLUSTER_BYTES = 1 << 16
HASH_BYTES = 16
BLOCK_BYTES = 1 << 12
BLOCK_HASH_BYTES = 8            # see transfer/blocks: the cluster's own hash has the last word
ZERO_HASH = bytes(HASH_BYTES)
ZERO_CLUSTER = bytes(CLUSTER_BYTES)
XXH3, SHA256 = "xxh3-128", "sha256-128"
_PACK = struct.Struct("<QQ").pack
SECRET_BYTES = 192              # XXH3 wants at least 136 bytes of good randomness

Buffer = Union[bytes, bytearray, memoryview]


class _Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


def _load_xxhash() -> Any:
    try:
        library = ctypes.CDLL("libxxhash.so.0")
        function = library.XXH3_128bits_withSecret
    except (OSError, AttributeError):
        return None
    function.restype = _Hash128
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t]
    return function


_xxh3 = _load_xxhash()
_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
_zeros_at = ctypes.cast(ctypes.c_char_p(ZERO_CLUSTER), ctypes.c_void_p).value or 0


def algorithms() -> tuple[str, ...]:
    """Return the algorithms this machine can compute, best first."""
    return (XXH3, SHA256) if _xxh3 is not None else (SHA256,)


def secret_id(secret: bytes) -> str:
    """Return an identifier of a secret that does not reveal it."""
    return hashlib.sha256(b"hotsite secret id" + secret).hexdigest()[:16]


def address_of(buffer: Buffer) -> tuple[int, Any]:
    """Return the address of the bytes, and an object to keep alive while the address is used."""
    view = buffer if isinstance(buffer, memoryview) else None
    if isinstance(buffer, bytes) or (view is not None and view.readonly):
        text = bytes(buffer)    # no copy for what is bytes already
        return ctypes.cast(ctypes.c_char_p(text), ctypes.c_void_p).value or 0, text
    if not len(buffer):
        return 0, buffer
    held = ctypes.c_char.from_buffer(buffer)
    return ctypes.addressof(held), held


class Hasher:
    """One algorithm under one secret."""

    def __init__(self, algorithm: str, secret: bytes = b"") -> None:
        if algorithm not in (XXH3, SHA256):
            raise Refused("there is no hash algorithm %s here: use one of %s"
                          % (algorithm, ", ".join(algorithms())))
        if algorithm not in algorithms():
            raise Refused("%s needs libxxhash.so.0: install libxxhash0 or use %s"
                          % (algorithm, SHA256))
        self.algorithm = algorithm
        self.secret_id = secret_id(secret)
        self._key = hashlib.shake_256(b"hotsite clusters" + secret).digest(SECRET_BYTES)
        self._key_at = ctypes.cast(ctypes.c_char_p(self._key), ctypes.c_void_p).value or 0

    def one(self, buffer: Buffer) -> bytes:
        """Return the hash of a buffer of any length, zeros or not."""
        start, _held = address_of(buffer)
        return self._at(start, len(buffer), buffer)

    def clusters(self, buffer: Buffer) -> bytes:
        """Return the hashes of the buffer's clusters, joined; the last cluster may be short."""
        start, _held = address_of(buffer)
        view = memoryview(buffer)
        return b"".join(self._cluster(start + at, size, view[at:at + size])
                        for at, size in cluster_spans(len(view)))

    def blocks(self, buffer: Buffer) -> bytes:
        """Return the short hashes of the buffer's blocks, joined; the last block may be short."""
        start, _held = address_of(buffer)
        view = memoryview(buffer)
        return b"".join(
            self._at(start + at, min(BLOCK_BYTES, len(view) - at), view[at:at + BLOCK_BYTES])
            [:BLOCK_HASH_BYTES] for at in range(0, len(view), BLOCK_BYTES))

    def _cluster(self, start: int, size: int, view: memoryview) -> bytes:
        if _memcmp(start, _zeros_at, size) == 0:
            return ZERO_HASH
        return self._at(start, size, view)

    def _at(self, start: int, size: int, buffer: Buffer) -> bytes:
        if self.algorithm == XXH3:
            found = _xxh3(start, size, self._key_at, SECRET_BYTES)
            return _PACK(found.low, found.high)
        digest = hashlib.sha256(self._key)
        digest.update(buffer)
        return digest.digest()[:HASH_BYTES]


def cluster_spans(size: int) -> Iterator[tuple[int, int]]:
    """Yield (offset, length) of each cluster in `size` bytes; the last may be short."""
    for at in range(0, size, CLUSTER_BYTES):
        yield at, min(CLUSTER_BYTES, size - at)
