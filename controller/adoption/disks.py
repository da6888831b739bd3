"""The disks of a VM as specs: by pool, by file, by block device, or only observed.

Either all disks of a VM are declared or none is: a disk that is left out of a list is one to take
away, once the VM is managed.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from controller.adoption.text import Noted
from controller.model.facts import DiskFacts
from controller.model.units import SIZES

_TARGET: Final = re.compile(r"(vd|sd|hd)[a-z]{1,2}")
FORMATS: Final = frozenset({"qcow2", "raw"})


class Undeclarable(NamedTuple):
    """Why no disk of a VM is declared."""

    disk: str
    why: str


class DiskGuess(NamedTuple):
    """One disk's spec, and what keeps it out of restore points."""

    spec: Noted
    what: str
    not_replicated: str
    """Empty if it is copied."""


def size_text(size_bytes: int) -> str:
    """Return a size that is read back as exactly that many bytes."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes % SIZES[unit] == 0:
            return f"{size_bytes // SIZES[unit]}{unit}"
    return f"{size_bytes}B"


def guess_disks(disks: Sequence[DiskFacts], pools: Mapping[str, str],
                ) -> list[DiskGuess] | Undeclarable:
    """Return the specs of all disks of a VM, or why none is declared; `pools` are by folder."""
    found = []
    for index, disk in enumerate(disks):
        if any(disk.target == one.target or (disk.source and disk.source == one.source)
               for one in disks[:index]):
            return Undeclarable(disk.target, "two of its disks have one name or one file")
        guess = guess_disk(disk, pools)
        if isinstance(guess, Undeclarable):
            return guess
        found.append(guess)
    return found


def guess_disk(disk: DiskFacts, pools: Mapping[str, str]) -> DiskGuess | Undeclarable:
    """Return the spec of one disk, or why it cannot be declared."""
    name = disk.target or "a disk without a target"
    if not _TARGET.fullmatch(disk.target):
        return Undeclarable(name, "the specs name disks vda, sda or hda and so on")
    place = place_of(disk, pools)
    if place is None:
        return Undeclarable(name, f"nothing is plugged in that could be named (kind {disk.type})")
    observed = isinstance(place.get("source"), dict) and "observed" in place["source"]
    why = why_not_replicated(disk)
    spec: dict[str, Any] = {"name": disk.target}
    if disk.size_bytes is not None and disk.size_bytes > 0:
        spec["size"] = size_text(disk.size_bytes)
    elif not observed:
        return Undeclarable(name, f"its size could not be read from {disk.source or 'anywhere'}")
    spec |= place
    if not observed and disk.format != ("raw" if disk.type == "block" else "qcow2"):
        spec["format"] = disk.format
    if why:
        spec["replicate"] = False
    return DiskGuess(Noted(spec, beside=why or ("a layer over another file: its replica holds both"
                                                if disk.layered else "")),
                     f"disk {name}", why)


def place_of(disk: DiskFacts, pools: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the fields that say where a disk lies; None where nothing names it."""
    if disk.type == "file" and disk.source and disk.format in FORMATS:
        folder, _, file = disk.source.rpartition("/")
        pool = pools.get(folder or "/")
        if pool is not None and file:
            return {"pool": pool}
        return {"source": {"file": disk.source}}
    if disk.type == "block" and disk.source and disk.format in FORMATS:
        return {"source": {"block": disk.source}}
    words = [disk.protocol or disk.type, ":", disk.pool and f"{disk.pool}/", disk.source]
    return {"source": {"observed": "".join(words)}} if disk.source else None


def why_not_replicated(disk: DiskFacts) -> str:
    """Return why a disk is in no restore point; empty if it is."""
    if disk.type not in {"file", "block"}:
        return f"libvirt's kind {disk.protocol or disk.type} is seen, and not copied"
    if disk.format not in FORMATS:
        return f"the format {disk.format} is not copied"
    for flag, why in ((disk.encrypted, "it is encrypted"), (disk.transient, "it is transient"),
                      (disk.readonly, "the guest only reads it"),
                      (disk.shareable, "several guests may write it"),
                      (disk.data_file, "its contents lie in another file than its own"),
                      (disk.device == "lun", "the guest speaks to the device itself")):
        if flag:
            return why
    return ""
