"""Chains and their manifests are read as QEMU reads them, grown and shrunk disks included."""

import shutil
from pathlib import Path

import pytest
from mover.errors import Damaged
from mover.image.chain import Chain, compose
from mover.image.hashing import CLUSTER_BYTES

from tests.mover.replicas import (
    HASHER,
    changes,
    identical,
    make_base,
    make_overlay,
    write_flat,
)

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img")
SIZE = (64 << 20) + 3 * 512
CLUSTERS = -(-SIZE // CLUSTER_BYTES)


def make_chain(folder: Path, sizes: list[int]) -> list[str]:
    """Make a base and overlays of these sizes, each with changes all over it."""
    path = make_base(folder / "base-1.raw", sizes[0],
                     changes(1, sizes[0] >> 16, 200, sizes[0]))
    paths = [path]
    for number, size in enumerate(sizes[1:], start=2):
        path = make_overlay(folder / f"rp-{number}.qcow2", size,
                            changes(number, size >> 16, 100, size), path)
        paths.append(path)
    return [str(path) for path in paths]


@pytest.mark.parametrize("sizes", [
    [SIZE], [SIZE, SIZE], [SIZE] * 4, [SIZE, SIZE + (9 << 20)], [SIZE, SIZE - (9 << 20)],
    [SIZE, 32 << 20, SIZE], [32 << 20, SIZE, 16 << 20, SIZE + 512]])
def test_a_chain_reads_as_qemu_reads_it(tmp_path: Path, sizes: list[int]) -> None:
    paths = make_chain(tmp_path, sizes)
    with Chain(paths) as chain:
        assert chain.size_bytes == sizes[-1]
        write_flat(tmp_path / "flat", sizes[-1], [(0, bytes(chain.read(0, sizes[-1])))])
    assert identical(Path(paths[-1]), tmp_path / "flat")


def test_any_piece_reads_as_that_piece_of_the_whole(tmp_path: Path) -> None:
    with Chain(make_chain(tmp_path, [SIZE, SIZE])) as chain:
        whole = chain.read(0, SIZE)
        for offset, length in ((0, 1), (65535, 2), (700_000, 3_000_000), (SIZE - 10, 10)):
            assert chain.read(offset, length) == whole[offset:offset + length]
        assert chain.read(SIZE - 10, 20) == whole[-10:] + bytes(10)


def test_the_composed_manifest_has_the_hash_of_every_cluster(tmp_path: Path) -> None:
    paths = make_chain(tmp_path, [SIZE] * 4)
    with compose(paths, str(tmp_path / "head.man"), 4) as manifest, Chain(paths) as chain:
        whole = HASHER.clusters(chain.read(0, SIZE))
        assert manifest.hashes(0, CLUSTERS) == whole
        assert manifest.header.generation == 4
        assert chain.hash_of(77) in {whole[77 * 16:78 * 16], None}


def test_a_composed_manifest_forgets_what_a_shorter_layer_hid(tmp_path: Path) -> None:
    paths = make_chain(tmp_path, [64 << 20, 32 << 20, 64 << 20])
    with compose(paths, str(tmp_path / "head.man")) as manifest, Chain(paths) as chain:
        assert manifest.hashes(0, 1024) == HASHER.clusters(chain.read(0, 64 << 20))


def test_a_base_without_its_manifest_is_damaged_not_empty(tmp_path: Path) -> None:
    paths = make_chain(tmp_path, [SIZE, SIZE])
    Path(paths[0]).with_suffix(".man").unlink()
    with pytest.raises(Damaged, match="no manifest: scan it again"):
        compose(paths, str(tmp_path / "head.man"))
