"""QEMU finds the written overlays sound; an image that would be misread is refused."""

import os
import shutil
from pathlib import Path

import pytest
from mover.errors import Damaged, Refused
from mover.image.hashing import CLUSTER_BYTES, HASH_BYTES
from mover.image.qcow2 import DATA, ZERO, Overlay, parse_header, render_header

from tests.mover.replicas import (
    HASHER,
    changes,
    identical,
    make_base,
    make_overlay,
    qemu_img,
    write_flat,
)

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")
SIZE = (600 << 20) + 5 * 512        # two tables, and an end inside a cluster
CLUSTERS = -(-SIZE // CLUSTER_BYTES)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_overlay_is_sound_and_reads_as_the_disk_it_was_made_from(
        tmp_path: Path, seed: int) -> None:
    old = changes(seed, CLUSTERS, 40, SIZE)
    new = [*changes(seed + 100, CLUSTERS, 60, SIZE), (CLUSTERS - 1, os.urandom(5 * 512))]
    base = make_base(tmp_path / "base-1.raw", SIZE, old)
    overlay = make_overlay(tmp_path / "rp-2.qcow2", SIZE, new, base)
    write_flat(tmp_path / "flat", SIZE, [*old, *new])
    assert "No errors were found" in qemu_img("check", overlay)
    assert identical(overlay, tmp_path / "flat")


def test_an_overlay_of_nothing_is_sound(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base-1.raw", SIZE, [(3, b"x" * CLUSTER_BYTES)])
    overlay = make_overlay(tmp_path / "rp-2.qcow2", SIZE, [], base)
    assert "No errors were found" in qemu_img("check", overlay)
    assert identical(overlay, base)


def test_a_cluster_that_came_twice_counts_once(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base-1.raw", SIZE, [])
    twice = [(9, b"a" * CLUSTER_BYTES), (9, b"b" * CLUSTER_BYTES), (10, bytes(CLUSTER_BYTES))]
    overlay = make_overlay(tmp_path / "rp-2.qcow2", SIZE, twice, base)
    write_flat(tmp_path / "flat", SIZE, twice)
    assert "No errors were found" in qemu_img("check", overlay)
    assert identical(overlay, tmp_path / "flat")


def test_every_mapped_cluster_has_its_hash(tmp_path: Path) -> None:
    what = [(8191, b"p" * 2 * CLUSTER_BYTES), (20, bytes(CLUSTER_BYTES))]
    make_overlay(tmp_path / "rp-2.qcow2", SIZE, what, tmp_path / "base-1.raw")
    expected = HASHER.clusters(b"p" * CLUSTER_BYTES)
    with Overlay(str(tmp_path / "rp-2.qcow2")) as overlay:
        assert [(run.kind, run.cluster, words) for run, words in overlay.sums()] == [
            (ZERO, 20, bytes(HASH_BYTES)), (DATA, 8191, expected), (DATA, 8192, expected)]
        assert overlay.hash_of(8192) == expected
        assert overlay.hash_of(8193) is None
        assert overlay.hash_of(CLUSTERS + 5) is None


def test_a_flipped_bit_in_the_hashes_is_seen(tmp_path: Path) -> None:
    path = make_overlay(tmp_path / "rp-2.qcow2", SIZE, [(1, b"x" * CLUSTER_BYTES)],
                        tmp_path / "base-1.raw")
    with Overlay(str(path)) as overlay:
        assert overlay.header.sums is not None
        at = overlay.header.sums.offset
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff")
    with Overlay(str(path)) as overlay, pytest.raises(Damaged, match="list of hashes is damaged"):
        list(overlay.sums())


def test_another_backing_file_can_be_named_in_one_sector(tmp_path: Path) -> None:
    path = make_overlay(tmp_path / "rp-2.qcow2", SIZE, [(1, b"x" * CLUSTER_BYTES)],
                        tmp_path / "base-1.raw")
    header = parse_header(path.read_bytes()[:4096], "it")
    data = render_header(header._replace(backing="base-000001.raw"))
    assert len(data) == 512
    assert parse_header(data.ljust(4096, b"\0"), "it") == header._replace(backing="base-000001.raw")


@pytest.mark.parametrize(("options", "word"), [
    (["-o", "cluster_size=128k"], "cluster bits 17"), (["-o", "compat=0.10"], "version 2"),
    (["-o", "extended_l2=on"], "incompatible features")])
def test_what_the_reader_does_not_know_is_refused(
        tmp_path: Path, options: list[str], word: str) -> None:
    qemu_img("create", "-q", "-f", "qcow2", *options, tmp_path / "other.qcow2", "64M")
    with pytest.raises(Refused, match=word):
        Overlay(str(tmp_path / "other.qcow2"))


def test_a_compressed_image_is_refused_when_it_is_read(tmp_path: Path) -> None:
    write_flat(tmp_path / "flat", 1 << 20, [(0, b"text" * (CLUSTER_BYTES // 4))])
    qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", tmp_path / "flat", tmp_path / "c.qcow2")
    with Overlay(str(tmp_path / "c.qcow2")) as overlay, pytest.raises(Refused, match="compressed"):
        list(overlay.mapped())


@pytest.mark.parametrize("size", [0, 100, 70000])
def test_a_file_without_a_header_or_cut_short_is_damaged(tmp_path: Path, size: int) -> None:
    path = make_overlay(tmp_path / "rp-2.qcow2", SIZE, [(1, b"x" * CLUSTER_BYTES)],
                        tmp_path / "base-1.raw")
    os.truncate(path, size)
    with pytest.raises(Damaged):
        Overlay(str(path))


def test_what_qemu_wrote_is_read_as_qemu_reads_it(tmp_path: Path) -> None:
    what = changes(5, CLUSTERS, 30, SIZE)
    write_flat(tmp_path / "flat", SIZE, what)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", tmp_path / "flat", tmp_path / "q.qcow2")
    flat = (tmp_path / "flat").read_bytes()
    with Overlay(str(tmp_path / "q.qcow2")) as overlay:
        for run in overlay.mapped():
            start, size = run.cluster * CLUSTER_BYTES, run.clusters * CLUSTER_BYTES
            size = min(size, SIZE - start)
            assert run.kind == DATA
            assert os.pread(overlay.fd, size, run.position) == flat[start:start + size]
