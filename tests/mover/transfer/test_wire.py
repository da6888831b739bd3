"""The framed stream: a frame that was not received whole and intact is refused."""

import os
import random
from pathlib import Path

import pytest
from mover.errors import Damaged, MoverError, Refused
from mover.image.hashing import CLUSTER_BYTES, SHA256, XXH3, ZERO_HASH, Hasher, algorithms
from mover.transfer.codec import RAW, ZLIB, ZSTD, compress, decompress
from mover.transfer.frames import Data, Frame, Mark, Zero, placed
from mover.transfer.wire import Hello, Reader, Writer

SECRET = b"of this pair"
HASHERS = [Hasher(name, SECRET) for name in algorithms()]
SIZE = 20 * CLUSTER_BYTES + 100
DISK = random.Random(7).randbytes(200) * (2 * CLUSTER_BYTES // 200 + 1)


def put(writer: Writer, number: int = 0, reached: int | None = None) -> None:
    """One small transfer with a frame of every kind."""
    hasher, raw = writer.hasher, memoryview(DISK)[:2 * CLUSTER_BYTES]
    writer.hello(Hello("t", "vda", SIZE, hasher.algorithm, hasher.secret_id, number, 2))
    codec, packed = compress(ZLIB, 1, raw)
    writer.data([(0, len(raw))], hasher.clusters(raw), codec, packed)
    writer.mark(2 * CLUSTER_BYTES, 1)
    writer.zero(4 * CLUSTER_BYTES, CLUSTER_BYTES)
    tail = b"tail" * 25
    writer.data([(SIZE - 100, 100)], hasher.clusters(tail), RAW, tail)
    writer.end(reached)


def wire(tmp_path: Path, hasher: Hasher) -> bytes:
    """What one transfer looks like on the wire."""
    path = tmp_path / "wire"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    put(Writer(fd, hasher))
    os.close(fd)
    return path.read_bytes()


def taken(tmp_path: Path, data: bytes, secret: bytes = SECRET) -> list[Frame]:
    """All frames of all transfers of a wire, expanded."""
    path = tmp_path / "taken"
    path.write_bytes(data)
    found = []
    with path.open("rb") as source:
        reader = Reader(source.fileno(), secret)
        while reader.hello() is not None:
            for frame in reader.frames():
                found.append(frame)
                if isinstance(frame, Data):
                    assert reader.hasher is not None
                    frame.expand(reader.hasher)
    return found


@pytest.mark.parametrize("hasher", HASHERS, ids=lambda hasher: hasher.algorithm)
def test_a_transfer_arrives_as_it_was_sent(tmp_path: Path, hasher: Hasher) -> None:
    once = wire(tmp_path, hasher)
    first, mark, zero, last = taken(tmp_path, once)
    assert isinstance(first, Data)
    assert isinstance(last, Data)
    assert bytes(first.expand(hasher)) == DISK[:2 * CLUSTER_BYTES]
    assert bytes(last.expand(hasher)) == b"tail" * 25
    assert (mark, zero) == (Mark(2 * CLUSTER_BYTES, 1), Zero(4 * CLUSTER_BYTES, CLUSTER_BYTES))
    assert len(taken(tmp_path, once + once)) == 8
    assert taken(tmp_path, b"") == []


@pytest.mark.parametrize("hasher", HASHERS, ids=lambda hasher: hasher.algorithm)
def test_a_stream_cut_anywhere_is_refused(tmp_path: Path, hasher: Hasher) -> None:
    whole = wire(tmp_path, hasher)
    for length in random.Random(1).sample(range(1, len(whole)), 300):
        with pytest.raises(MoverError):
            taken(tmp_path, whole[:length])


@pytest.mark.parametrize("hasher", HASHERS, ids=lambda hasher: hasher.algorithm)
def test_a_bit_flipped_anywhere_is_refused(tmp_path: Path, hasher: Hasher) -> None:
    whole = bytearray(wire(tmp_path, hasher))
    for at in random.Random(2).sample(range(len(whole)), 400):
        whole[at] ^= 1 << at % 8
        with pytest.raises(MoverError):
            taken(tmp_path, bytes(whole))
        whole[at] ^= 1 << at % 8


def test_frames_left_out_or_swapped_are_refused(tmp_path: Path) -> None:
    parts = wire(tmp_path, HASHERS[0]).split(b"HSF1")[1:]
    frames = [b"HSF1" + part for part in parts]
    assert len(frames) == 6
    for left_out in (1, 3, 4):
        with pytest.raises(Damaged):
            taken(tmp_path, b"".join(frames[:left_out] + frames[left_out + 1:]))
    frames[3], frames[4] = frames[4], frames[3]
    with pytest.raises(Damaged, match="totals"):
        taken(tmp_path, b"".join(frames))


def test_clusters_from_all_over_the_disk_come_in_one_frame(tmp_path: Path) -> None:
    hasher, path = HASHERS[0], tmp_path / "wire"
    extents = [(CLUSTER_BYTES, CLUSTER_BYTES), (5 * CLUSTER_BYTES, 2 * CLUSTER_BYTES),
               (SIZE - 100, 100)]
    raw = random.Random(2).randbytes(3 * CLUSTER_BYTES + 100)
    with path.open("wb") as sink:
        writer = Writer(sink.fileno(), hasher)
        writer.hello(Hello("t", "vda", SIZE, hasher.algorithm, hasher.secret_id))
        writer.data(extents, hasher.clusters(raw), RAW, raw)
        writer.end()
    (frame,) = taken(tmp_path, path.read_bytes())
    assert isinstance(frame, Data)
    assert list(placed(frame.extents)) == [
        (CLUSTER_BYTES, 0, CLUSTER_BYTES), (5 * CLUSTER_BYTES, CLUSTER_BYTES, 2 * CLUSTER_BYTES),
        (SIZE - 100, 3 * CLUSTER_BYTES, 100)]
    assert frame.expand(hasher) == raw


@pytest.mark.parametrize("extents", [
    [(SIZE - 100, 100), (0, CLUSTER_BYTES)],        # part of a cluster before a whole one
    [(100, CLUSTER_BYTES)],
    [(20 * CLUSTER_BYTES, CLUSTER_BYTES)],
    [(0, 0)],
    [],
])
def test_extents_that_no_disk_has_are_damage(tmp_path: Path,
                                             extents: list[tuple[int, int]]) -> None:
    hasher, path = HASHERS[0], tmp_path / "wire"
    raw = bytes(range(256)) * (sum(length for _, length in extents) // 256 + 1)
    raw = raw[:sum(length for _, length in extents)]
    with path.open("wb") as sink:
        writer = Writer(sink.fileno(), hasher)
        writer.hello(Hello("t", "vda", SIZE, hasher.algorithm, hasher.secret_id))
        writer.data(extents, hasher.clusters(raw), RAW, raw)
        writer.end()
    with pytest.raises(Damaged):
        taken(tmp_path, path.read_bytes())


def test_clusters_that_are_not_what_their_hash_says_are_damage(tmp_path: Path) -> None:
    hasher = HASHERS[0]
    frame = next(f for f in taken(tmp_path, wire(tmp_path, hasher)) if isinstance(f, Data))
    with pytest.raises(Damaged, match="not what was sent"):
        frame._replace(hashes=bytes(reversed(frame.hashes))).expand(hasher)


def test_another_secret_is_refused_and_not_given_away(tmp_path: Path) -> None:
    data = wire(tmp_path, HASHERS[0])
    assert SECRET not in data
    with pytest.raises(Refused, match="different hash secrets"):
        taken(tmp_path, data, b"another")


def test_the_sentence_of_a_sender_that_gave_up_arrives(tmp_path: Path) -> None:
    read, write = os.pipe()
    writer = Writer(write, HASHERS[0])
    writer.hello(Hello("t", "vda", SIZE, writer.hasher.algorithm, writer.hasher.secret_id))
    writer.error("the guest went away")
    os.close(write)
    reader = Reader(read, SECRET)
    assert reader.hello() is not None
    with pytest.raises(MoverError, match="the guest went away"):
        list(reader.frames())
    os.close(read)


@pytest.mark.parametrize("reached", [None, 5 * CLUSTER_BYTES])
def test_the_end_says_how_far_it_came(tmp_path: Path, reached: int | None) -> None:
    read, write = os.pipe()
    put(Writer(write, HASHERS[0]), reached=reached)
    os.close(write)
    reader = Reader(read, SECRET)
    reader.hello()
    list(reader.frames())
    assert reader.reached == reached
    os.close(read)


@pytest.mark.parametrize(("offset", "length"), [
    (1, CLUSTER_BYTES), (0, 100), (SIZE - 100, 200), (30 * CLUSTER_BYTES, CLUSTER_BYTES), (0, 0)])
def test_ranges_that_are_no_clusters_of_the_disk_are_refused(offset: int, length: int) -> None:
    read, write = os.pipe()
    writer = Writer(write, HASHERS[0])
    writer.hello(Hello("t", "vda", SIZE, writer.hasher.algorithm, writer.hasher.secret_id))
    writer.zero(offset, length)
    os.close(write)
    reader = Reader(read, SECRET)
    reader.hello()
    with pytest.raises(Damaged, match="not made of new clusters"):
        list(reader.frames())
    os.close(read)


@pytest.mark.parametrize("hasher", HASHERS, ids=lambda hasher: hasher.algorithm)
def test_zero_clusters_have_the_zero_hash_and_others_do_not(hasher: Hasher) -> None:
    data = bytearray(3 * CLUSTER_BYTES + 7)
    data[2 * CLUSTER_BYTES - 1] = 1
    hashes = hasher.clusters(data)
    assert [hashes[at:at + 16] == ZERO_HASH for at in range(0, 64, 16)] == [
        True, False, True, True]
    assert hashes == hasher.clusters(bytes(data)) == hasher.clusters(memoryview(bytes(data)))


def test_xxh3_is_what_its_library_says() -> None:
    if XXH3 not in algorithms():
        pytest.skip("libxxhash.so.0 is not installed: SHA-256 takes its place")
    one, other = Hasher(XXH3, b"a"), Hasher(XXH3, b"b")
    assert one.one(b"text") == Hasher(XXH3, b"a").one(bytearray(b"text"))
    assert one.one(b"text") != other.one(b"text")
    assert Hasher(SHA256, b"a").one(b"text") != Hasher(SHA256, b"b").one(b"text")


@pytest.mark.parametrize("codec", [ZSTD, ZLIB])
def test_what_does_not_shrink_is_left_as_it_is(codec: int) -> None:
    noise = os.urandom(CLUSTER_BYTES)
    assert compress(codec, 1, noise) == (RAW, noise)
    words = b"hot site " * 10000
    used, packed = compress(codec, 1, words)
    assert used == codec
    assert len(packed) < len(words) // 10
    assert bytes(decompress(used, packed, len(words))) == words


@pytest.mark.parametrize("codec", [ZSTD, ZLIB, RAW])
def test_a_codec_never_gives_more_or_less_than_was_promised(codec: int) -> None:
    words = bytes(100000)
    used, packed = compress(codec, 1, words)
    for length in (99999, 100001):
        with pytest.raises(Damaged):
            decompress(used, packed, length)
