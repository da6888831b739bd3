"""
Compress data for the wire: zstd through ctypes (dpkg itself needs libzstd1), else zlib.

Data that does not shrink is sent raw, so that the wire never carries more than the disk has. How
hard zstd tries follows the line: on a thin one processors have time. Contexts are used again, and
there are never more than threads that compress at once; ctypes and zlib release the interpreter
lock.
"""

from __future__ import annotations

import contextlib
import ctypes
import zlib
from typing import Any, Callable, Iterator, List

from mover.errors import Damaged, Refused
from mover.image.hashing import Buffer, address_of

RAW, ZSTD, ZLIB = 0, 1, 2       # as they stand in a DATA frame
NAMES = {"none": RAW, "zstd": ZSTD, "zlib": ZLIB}


def _load_zstd() -> Any:
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError:
        return None
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    for name, result, arguments in (
            ("ZSTD_createCCtx", pointer, []), ("ZSTD_createDCtx", pointer, []),
            ("ZSTD_isError", ctypes.c_uint, [size]),
            ("ZSTD_compressCCtx", size, [pointer, pointer, size, pointer, size, ctypes.c_int]),
            ("ZSTD_decompressDCtx", size, [pointer, pointer, size, pointer, size])):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_zstd = _load_zstd()


class _Contexts:
    """Contexts of libzstd that nobody uses; they live as long as the process."""

    def __init__(self, create: Callable[[], int]) -> None:
        self._create = create
        self._free: List[int] = []

    @contextlib.contextmanager
    def taken(self) -> Iterator[int]:
        """Lend one for the block; appending to a list and popping from it are atomic."""
        try:
            context = self._free.pop()
        except IndexError:
            context = self._create()
        try:
            yield context
        finally:
            self._free.append(context)


_packing = _Contexts(lambda: int(_zstd.ZSTD_createCCtx()))
_expanding = _Contexts(lambda: int(_zstd.ZSTD_createDCtx()))
LEVELS = ((25e6, 8), (50e6, 7), (100e6, 5), (200e6, 3))
"""Up to which rate of the line, in bits a second, which level of zstd is worth its time.

Level 9 takes 13 MB more, and packs what disks hold by 1 % more.
"""


def level_for(rate_bps: float, least: int) -> int:
    """Return the level for a line; 0: its rate is not known."""
    return max(least, next((level for limit, level in LEVELS if 0 < rate_bps <= limit), least))


def codecs() -> tuple[str, ...]:
    """Return the codecs this machine has, best first."""
    return ("zstd", "zlib", "none") if _zstd is not None else ("zlib", "none")


def number_of(name: str) -> int:
    """Return the number of a codec in DATA frames."""
    if name not in codecs():
        raise Refused("codec %s is not available here: use one of %s"
                      % (name, ", ".join(codecs())))
    return NAMES[name]


def compress(codec: int, level: int, raw: Buffer) -> tuple[int, Buffer]:
    """Return codec and compressed bytes; RAW and `raw` itself if they would not be fewer."""
    if codec == ZLIB:
        packed: Buffer = zlib.compress(raw, max(1, level))
    elif codec == ZSTD:
        packed = _zstd_compress(level, raw)
    else:
        return RAW, raw
    return (codec, packed) if len(packed) < len(raw) else (RAW, raw)


def decompress(codec: int, packed: Buffer, length: int) -> Buffer:
    """Return the `length` bytes that were compressed."""
    if codec == RAW:
        raw = packed
    elif codec == ZLIB:
        try:
            raw = zlib.decompressobj().decompress(packed, length + 1)
        except zlib.error as error:
            raise Damaged("zlib cannot expand %d bytes: %s" % (len(packed), error)) from None
    elif codec == ZSTD and _zstd is not None:
        raw = _zstd_decompress(packed, length)
    else:
        raise Refused("codec number %d is not available here: use one of %s"
                      % (codec, ", ".join(codecs())))
    if len(raw) != length:
        raise Damaged("%d bytes came out of the codec where %d went in" % (len(raw), length))
    return raw


def _zstd_compress(level: int, raw: Buffer) -> Buffer:
    assert _zstd is not None, "number_of refuses zstd where there is none"
    out = bytearray(len(raw))   # data that does not fit is not worth compressing
    to, _out_held = address_of(out)
    start, _raw_held = address_of(raw)
    with _packing.taken() as context:
        size = _zstd.ZSTD_compressCCtx(context, to, len(out), start, len(raw), level)
    return raw if _zstd.ZSTD_isError(size) else memoryview(out)[:size]


def _zstd_decompress(packed: Buffer, length: int) -> Buffer:
    assert _zstd is not None, "decompress has looked"
    out = bytearray(length)
    to, _out_held = address_of(out)
    start, _packed_held = address_of(packed)
    with _expanding.taken() as context:
        size = _zstd.ZSTD_decompressDCtx(context, to, length, start, len(packed))
    if _zstd.ZSTD_isError(size) or size != length:
        raise Damaged("zstd cannot expand %d bytes to %d" % (len(packed), length))
    return out
