"""The way back, on images and without a lab: what is sent onto former disks, and what is read.

A VM fails over to Milan, where it changes some clusters; others it had changed at Paris after the
restore point. Its disk at Paris becomes the base of the replica, with the bitmap of that point and
without it, and the VM is copied there. Counted are bytes of the disk before compression.
"""

import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from controller.providers.linux.archive import pack
from tests.bench.figure import Figure

ROUNDS = 3
CHANGED, DIVERGED = 60, 30
CLUSTER_BYTES = 1 << 16
LIMIT = 1.1
REMOTE = Path(__file__).parents[3] / "controller" / "remote"


def figures() -> list[Figure]:
    """Return what the way back costs; nothing where there is no QEMU."""
    if shutil.which("qemu-img") is None or shutil.which("qemu-nbd") is None:
        return []
    sys.path.insert(0, str(REMOTE))     # the mover is sent to hosts as data
    found = []
    for with_bitmap in (True, False):
        runs = [measured(with_bitmap=with_bitmap) for _ in range(ROUNDS)]
        how = "with the old bitmap" if with_bitmap else "without it"
        found += [
            Figure(f"way back {how}: sent for each byte that changed or diverged", "B",
                   tuple(run["sent"] for run in runs), limit=LIMIT),
            Figure(f"way back {how}: read of the former disk, of 32 MiB", "MiB",
                   tuple(run["read"] for run in runs))]
        if not with_bitmap:
            found.append(Figure("promotion on the host: pin, epoch, overlay, definition", "s",
                                tuple(run["promoted"] for run in runs), limit=1.0,
                                note="with the start of the mover, without that of the VM"))
    return found


def measured(*, with_bitmap: bool) -> dict[str, float]:
    """Fail over and come back once; return what was sent, read and waited for."""
    from tests.mover.disks import tool
    from tests.mover.failover.returning import (
        CHECKPOINT,
        Sites,
        allocated,
        definition,
        digest,
        same,
        write,
    )

    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        packed = Path(folder) / "mover.zip"
        packed.write_bytes(pack("mover"))
        sites = Sites(Path(folder), packed, patch)
        diverged = sites.sampled(DIVERGED)
        write(sites.disk, diverged, 3)
        began = time.perf_counter()
        overlay = sites.milan.promoted(1, 7)
        promoted_s = time.perf_counter() - began
        write(overlay, sites.sampled(CHANGED), 2)
        sites.play(definition(sites.disk))
        if not with_bitmap:
            tool("qemu-img", "bitmap", "--remove", sites.disk, CHECKPOINT)
        before = digest(sites.disk)
        told = sites.paris.adopt(7, known=sites.known())
        sent = sites.copy(overlay, sites.paris, 2, 7)
        assert same(sites.paris.top(2), overlay)
        assert digest(sites.disk) == before
        union = allocated(overlay) | set(diverged)
        return {"sent": sent / (len(union) * CLUSTER_BYTES), "promoted": promoted_s,
                "read": told["read_bytes"] / (1 << 20)}
