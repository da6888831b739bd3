"""A disk made smaller and larger again loses data that no bitmap records: it is found anyway."""

import os
from pathlib import Path

from tests.mover.disks import (
    MIB,
    archive,
    exported,
    filled,
    needs_qemu,
    received,
    same,
    send,
    tool,
    written,
)
from tests.mover.transfer.test_send import manifest_of

pytestmark = needs_qemu
__all__ = ["archive"]


def test_holes_that_the_bitmap_knows_nothing_of_are_compared_and_told(
        tmp_path: Path, archive: Path) -> None:
    disk = filled(tmp_path / "a.qcow2", os.urandom(4 * MIB) + bytes(4 * MIB))
    tool("qemu-img", "convert", "-O", "raw", disk, tmp_path / "b.raw")
    known = manifest_of(tmp_path / "known", (tmp_path / "b.raw").read_bytes())
    tool("qemu-img", "bitmap", "--add", disk, "since")
    written(disk, "discard 1M 1M")
    words = {"mode": "increment", "bitmap": "since", "holes": True, "known": str(known)}
    with exported(disk, tmp_path / "s", "--bitmap=since") as socket:
        sent = send(archive, [tmp_path / "w"], socket=socket, **words)
    assert (sent.result["zero_bytes"], sent.result["beyond"]) == (MIB, False)
    tool("qemu-img", "resize", "-q", "--shrink", disk, "3M")
    tool("qemu-img", "resize", "-q", disk, "8M")
    with exported(disk, tmp_path / "s", "--bitmap=since") as socket:
        sent = send(archive, [tmp_path / "w"], socket=socket, **words)
    assert (sent.result["zero_bytes"], sent.result["beyond"]) == (2 * MIB, True)
    received([tmp_path / "w"], tmp_path / "b.raw")
    same(tmp_path / "b.raw", disk)
