"""Manifests: written, read back, and refused when damaged."""

import hashlib
import os
import struct
from pathlib import Path

import pytest
from mover.errors import Damaged, Refused
from mover.image.hashing import HASH_BYTES
from mover.image.manifest import (
    HEADER_BYTES,
    Header,
    Manifest,
    parse_header,
    render_header,
)

GIB = 1 << 30
HEADER = Header(3 * GIB + 512, "xxh3-128", "0123456789abcdef", 7)


def made(path: Path, hashes: dict[int, bytes]) -> Manifest:
    manifest = Manifest.create(str(path), HEADER)
    for cluster, word in hashes.items():
        manifest.put(cluster, word)
    return manifest


def word(number: int) -> bytes:
    return number.to_bytes(HASH_BYTES, "big")


def test_a_manifest_read_back_is_what_was_written(tmp_path: Path) -> None:
    last = HEADER.size_bytes >> 16
    made(tmp_path / "m", {0: word(1), 5: word(2) + word(3), last: word(9)}).close()
    with Manifest.open(str(tmp_path / "m")) as manifest:
        assert manifest.header == HEADER
        assert manifest.hashes(4, 4) == word(0) + word(2) + word(3) + word(0)
        assert manifest.hashes(last, 3) == word(9) + word(0) + word(0)


def test_a_manifest_of_zeros_takes_no_room(tmp_path: Path) -> None:
    made(tmp_path / "m", {}).close()
    assert (tmp_path / "m").stat().st_blocks * 512 <= HEADER_BYTES


def test_equal_manifests_show_no_difference_and_one_root(tmp_path: Path) -> None:
    one, other = made(tmp_path / "a", {70: word(1)}), made(tmp_path / "b", {70: word(1)})
    with one, other:
        assert one.supers() == other.supers()
        assert one.root() == other.root()


def test_one_flipped_bit_in_the_header_is_seen() -> None:
    data = bytearray(render_header(HEADER))
    assert parse_header(bytes(data)) == HEADER
    data[9] ^= 1
    with pytest.raises(Damaged, match="no sound header"):
        parse_header(bytes(data))


def test_a_manifest_of_another_version_is_refused() -> None:
    head = struct.pack(">4sIQQ16s16s", b"HSM1", 2, 0, 0, b"", b"")
    with pytest.raises(Refused, match="version 2, this mover knows 1"):
        parse_header(head + hashlib.sha256(head).digest())


def test_a_manifest_cut_short_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "m", {}).close()
    os.truncate(tmp_path / "m", HEADER_BYTES + 100)
    with pytest.raises(Damaged, match="cut short"):
        Manifest.open(str(tmp_path / "m"))


def test_growing_and_shrinking_forget_what_is_past_the_end(tmp_path: Path) -> None:
    with made(tmp_path / "m", {0: word(1), 100: word(2)}) as manifest:
        manifest.resize(HEADER._replace(size_bytes=50 << 16))
        assert manifest.hashes(100, 1) == word(0)
        manifest.resize(HEADER)
        assert manifest.hashes(0, 1) == word(1)
        assert manifest.hashes(100, 1) == word(0)
