"""Holes are found and made where the file system can; elsewhere a sparse copy stays sparse."""

import ctypes
import errno
from pathlib import Path

import pytest
from mover.image import sparse
from mover.image.hashing import CLUSTER_BYTES


class Unable:
    """A C library on a file system that makes no holes."""

    def fallocate(self, *_: int) -> int:
        """Fail as the system call does."""
        ctypes.set_errno(errno.EOPNOTSUPP)
        return -1


def test_punched_bytes_read_as_zeros(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 300_000)
    with (tmp_path / "f").open("r+b") as file:
        sparse.punch(file.fileno(), 65536, 131072)
    assert (tmp_path / "f").read_bytes() == b"x" * 65536 + bytes(131072) + b"x" * (
        300_000 - 196_608)


def test_where_no_hole_can_be_made_only_what_is_not_zeros_is_written(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "_libc", Unable())
    with (tmp_path / "f").open("w+b") as file:
        file.truncate(8 << 20)
        file.seek(5 << 20)
        file.write(b"x" * 300_000)
        file.flush()
        sparse.punch(file.fileno(), 0, 8 << 20)
    assert not any((tmp_path / "f").read_bytes())
    assert (tmp_path / "f").stat().st_blocks * 512 <= 2 << 20


def test_only_clusters_with_something_in_them_are_filled(tmp_path: Path) -> None:
    with (tmp_path / "f").open("w+b") as file:
        file.truncate(20 * CLUSTER_BYTES)
        for cluster, count in ((3, 2), (9, 1)):
            file.seek(cluster * CLUSTER_BYTES)
            file.write(b"x" * count * CLUSTER_BYTES)
        file.flush()
        assert list(sparse.filled(file.fileno(), 0, 20)) == [(3, 5), (9, 10)]
        assert list(sparse.filled(file.fileno(), 4, 9)) == [(4, 5)]
        assert list(sparse.filled(file.fileno(), 10, 20)) == []
