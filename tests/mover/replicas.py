"""Disks, overlays and whole replicas for the tests of the mover's target end."""

import os
import random
import subprocess
from collections.abc import Iterable
from pathlib import Path

from mover.image.hashing import CLUSTER_BYTES, SHA256, Hasher
from mover.image.index import OVERLAY, Index
from mover.image.manifest import Header, Manifest
from mover.image.qcow2_writer import Backing, finish_overlay

HASHER = Hasher(SHA256, b"a pair's secret")
Change = tuple[int, bytes]
"""Cluster, and what it becomes: one or more clusters of bytes."""


def qemu_img(*arguments: object) -> str:
    """Run qemu-img and return what it said; it must succeed."""
    done = subprocess.run(["qemu-img", *map(str, arguments)], check=False, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def identical(overlay: Path, flat: Path) -> bool:
    """Say whether QEMU reads an overlay as exactly the bytes of a flat file."""
    form = "qcow2" if overlay.suffix == ".qcow2" else "raw"
    done = subprocess.run(["qemu-img", "compare", "-f", form, "-F", "raw", overlay, flat],
                          check=False, capture_output=True, text=True)
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode == 0


def changes(seed: int, clusters: int, number: int, size_bytes: int) -> list[Change]:
    """Return some changes to a disk: a third of them zeros, some reaching its end."""
    dice = random.Random(seed)
    found = []
    for cluster in dice.sample(range(clusters), number):
        length = min(dice.randrange(1, 5) * CLUSTER_BYTES, size_bytes - cluster * CLUSTER_BYTES)
        found.append((cluster, bytes(length) if dice.random() < 0.3 else dice.randbytes(length)))
    return found


def write_flat(path: Path, size_bytes: int, what: Iterable[Change]) -> None:
    """Make the changes to a plain file, which is made when it is not there."""
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    os.ftruncate(fd, size_bytes)
    for cluster, data in what:
        os.pwrite(fd, data, cluster * CLUSTER_BYTES)
    os.close(fd)


def make_base(path: Path, size_bytes: int, what: Iterable[Change]) -> Path:
    """Make a base and the manifest beside it."""
    what = list(what)
    write_flat(path, size_bytes, what)
    header = Header(size_bytes, HASHER.algorithm, HASHER.secret_id)
    with Manifest.create(str(path.with_suffix(".man")), header) as manifest:
        for cluster, data in what:
            manifest.put(cluster, HASHER.clusters(data))
    return path


def make_overlay(path: Path, size_bytes: int, what: Iterable[Change], below: Path) -> Path:
    """Make an overlay, in the order of `what`, as a receiver would."""
    header = Header(size_bytes, HASHER.algorithm, HASHER.secret_id)
    index = Index.create(f"{path}.idx", OVERLAY, size_bytes)
    manifest = Manifest.create(f"{path}.man", header)
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600)
    with index, manifest:
        for cluster, data in what:
            count = -(-len(data) // CLUSTER_BYTES)
            manifest.put(cluster, HASHER.clusters(data))
            if any(data):
                position = index.reserve(count)
                os.pwrite(fd, data, position)
                index.put_data(cluster, count, position)
            else:
                index.put_zero(cluster, count)
        form = "qcow2" if below.suffix == ".qcow2" else "raw"
        finish_overlay(fd, index, manifest, Backing(below.name, form))
    os.close(fd)
    return path
