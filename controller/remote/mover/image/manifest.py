"""
Keep a hash of 16 bytes for each 64 KiB cluster of a disk in one file.

    header   4 KiB: magic, version, size, generation, algorithm, secret id, check
    hashes   16 bytes per cluster, all zero for a cluster of zeros (a hole in the file)

The root stands for all of them: a hash over one super-hash for each 4 MiB of the disk.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import Iterator, NamedTuple

from mover.errors import Damaged, Refused
from mover.image.hashing import CLUSTER_BYTES, HASH_BYTES, ZERO_HASH, Buffer
from mover.image.regular import open_regular

HEADER_BYTES = 4096
MAGIC = b"HSM1"
VERSION = 1
UNKNOWN_HASH = b"\xff" * HASH_BYTES     # of a cluster with unverified contents
GROUP = 64                              # clusters below one super-hash: 4 MiB of the disk
GROUP_HASH_BYTES = GROUP * HASH_BYTES
_HEAD = struct.Struct(">4sIQQ16s16s")
_ZERO_GROUP = bytes(GROUP_HASH_BYTES)
_READ_GROUPS = 1024                     # 1 MiB of hashes at a time


class Header(NamedTuple):
    """What the hashes are of, and under which algorithm and secret."""

    size_bytes: int
    algorithm: str
    secret_id: str
    generation: int = 0


def clusters_of(size_bytes: int) -> int:
    """Return how many clusters a disk of this size has; the last may be short."""
    return -(-size_bytes // CLUSTER_BYTES)


def render_header(header: Header) -> bytes:
    """Return the first 4 KiB of a manifest."""
    head = _HEAD.pack(MAGIC, VERSION, header.size_bytes, header.generation,
                      header.algorithm.encode(), header.secret_id.encode())
    return (head + hashlib.sha256(head).digest()).ljust(HEADER_BYTES, b"\0")


def parse_header(data: bytes, name: str = "manifest") -> Header:
    """Return the header of a manifest; Damaged if its checksum is wrong."""
    head = data[:_HEAD.size]
    check = data[_HEAD.size:_HEAD.size + hashlib.sha256().digest_size]
    if len(head) < _HEAD.size or hashlib.sha256(head).digest() != check:
        raise Damaged("%s has no sound header: compose it again" % name)
    magic, version, size_bytes, generation, algorithm, secret_id = _HEAD.unpack(head)
    if magic != MAGIC or version != VERSION:
        raise Refused("%s is a manifest of version %d, this mover knows %d"
                      % (name, version, VERSION))
    return Header(size_bytes, algorithm.rstrip(b"\0").decode(),
                  secret_id.rstrip(b"\0").decode(), generation)


class Manifest:
    """An open manifest file, read and written without mmap: a full disk is an error, no signal."""

    def __init__(self, path: str, fd: int, header: Header) -> None:
        self.path = path
        self.fd = fd
        self.header = header
        self.clusters = clusters_of(header.size_bytes)

    @classmethod
    def create(cls, path: str, header: Header) -> Manifest:
        """Create the manifest of a disk of zeros, replacing any that exists."""
        fd = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.pwrite(fd, render_header(header), 0)
        os.ftruncate(fd, HEADER_BYTES + clusters_of(header.size_bytes) * HASH_BYTES)
        return cls(path, fd, header)

    @classmethod
    def open(cls, path: str, writable: bool = False) -> Manifest:
        """Open a manifest; Damaged if the file is shorter than its header says."""
        fd = open_regular(path, os.O_RDWR if writable else os.O_RDONLY)
        try:
            manifest = cls(path, fd, parse_header(os.pread(fd, HEADER_BYTES, 0), path))
            expected = HEADER_BYTES + manifest.clusters * HASH_BYTES
            if os.fstat(fd).st_size < expected:
                raise Damaged("%s is cut short: %d of %d bytes"
                              % (path, os.fstat(fd).st_size, expected))
        except BaseException:
            os.close(fd)
            raise
        return manifest

    def __enter__(self) -> Manifest:  # noqa: PYI034
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)

    def hashes(self, first: int, count: int) -> bytes:
        """Return the hashes of clusters [first, first+count); those past the end are of zeros."""
        inside = max(0, min(count, self.clusters - first))
        got = os.pread(self.fd, inside * HASH_BYTES, HEADER_BYTES + first * HASH_BYTES)
        if len(got) != inside * HASH_BYTES:
            raise Damaged("%s was cut short while it was read" % self.path)
        return got.ljust(count * HASH_BYTES, b"\0")

    def put(self, first: int, hashes: bytes) -> None:
        """Set the hashes from cluster `first` on."""
        assert first + len(hashes) // HASH_BYTES <= self.clusters, "a hash past the disk's end"
        put_whole(self.fd, hashes, HEADER_BYTES + first * HASH_BYTES)

    def resize(self, header: Header) -> None:
        """Set a new header and size; new clusters are zeros, those past the end are dropped."""
        os.ftruncate(self.fd, HEADER_BYTES + clusters_of(header.size_bytes) * HASH_BYTES)
        os.pwrite(self.fd, render_header(header), 0)
        self.header, self.clusters = header, clusters_of(header.size_bytes)

    def sync(self) -> None:
        """Return when all of it is on the disk."""
        os.fsync(self.fd)

    def groups(self) -> Iterator[bytes]:
        """Yield the hashes of 64 clusters at a time, the last filled up with zeros."""
        for at in range(0, self.clusters, GROUP * _READ_GROUPS):
            count = min(GROUP * _READ_GROUPS, -(-(self.clusters - at) // GROUP) * GROUP)
            hashes = self.hashes(at, count)
            for start in range(0, len(hashes), GROUP_HASH_BYTES):
                yield hashes[start:start + GROUP_HASH_BYTES]

    def supers(self) -> bytes:
        """Return one super-hash for each 4 MiB of the disk."""
        return b"".join(map(super_hash, self.groups()))

    def root(self) -> str:
        """Return one hash that stands for the contents of the whole disk."""
        head = "%d %s %s" % (self.header.size_bytes, self.header.algorithm, self.header.secret_id)
        return hashlib.sha256(head.encode() + self.supers()).hexdigest()


def put_whole(fd: int, data: Buffer, at: int) -> None:
    """Write all of `data`, however many times the kernel has to be asked."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written


def super_hash(group: bytes) -> bytes:
    """Return the hash that stands for up to 64 hashes; zeros for zeros."""
    if group == _ZERO_GROUP[:len(group)]:
        return ZERO_HASH
    return hashlib.sha256(group).digest()[:HASH_BYTES]
