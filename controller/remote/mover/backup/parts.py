"""
Which disks of a domain cannot be copied, and why, by its XML alone.

The plan has the same table and asks for no copy of such a disk, but its facts may be older.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Callable, Tuple

COPIED = ("qcow2", "raw", "qed", "vmdk", "vdi", "vpc", "vhdx")
ENCRYPTED = "it is encrypted, and a copy would lie in the clear"
PLACES = ("file", "block", "volume")

_Test = Callable[[ET.Element], bool]


def _has(tag: str) -> _Test:
    return lambda disk: disk.find(tag) is not None


def _is(*kinds: str) -> _Test:
    return lambda disk: disk.get("type") in kinds


KINDS: Tuple[Tuple[_Test, str], ...] = (
    (lambda disk: next(disk.iter("encryption"), None) is not None, ENCRYPTED),
    (lambda disk: disk.get("device") == "lun", "it is a LUN, to which the guest can write past"
     " QEMU"),
    (_is("vhostuser", "vhostvdpa"), "another process than QEMU has its data"),
    (_is("nvme"), "the guest has the NVMe drive itself"),
    (_is("dir"), "QEMU makes it from a folder of its host"),
    (_is("network"), "it lies on storage elsewhere, which has its own copies or none"),
    (lambda disk: disk.get("type", "file") not in PLACES, "its type is not known here"),
    (_has("transient"), "what is written to it is gone when its VM stops"),
    (_has("readonly"), "it is read-only, and libvirt copies none that is"),
    (_has("shareable"), "other VMs may write to it, and what they change would not be seen"),
)


def uncopied(disk: ET.Element, form: str) -> str:
    """Return why a disk cannot be copied; empty where it can."""
    for is_one, why in KINDS:
        if is_one(disk):
            return why
    return "" if form in COPIED else "its format is not known here"
