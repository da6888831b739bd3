"""What the copies of a VM that runs and of one that is off have in common."""

from __future__ import annotations

import abc
from typing import Any, Dict, NamedTuple, Optional, Tuple

from mover.backup.virsh import Disk
from mover.image.header import virtual_size
from mover.image.sent_since import covers, of_ranges
from mover.transfer.extents import dirty
from mover.transfer.nbd import Nbd, bitmap_context

ELSEWHERE = "it does not lie where it did at the last point"
PUT_BACK = "its change tracking knows less than was sent since, as that of a disk that was put back"


class CopyRequest(NamedTuple):
    """The `begin` command: what a copy is asked to be."""

    modes: Dict[str, str]           # by target, see copy_mode
    checkpoint: str = ""            # to be made; empty: none
    since: str = ""                 # the checkpoint that increments are taken from; empty: none
    keep: Tuple[str, ...] = ()      # other checkpoints that stay
    quiesce: bool = False
    limit_s: float = 600
    scratch_bytes: Optional[int] = None
    known: Dict[str, Any] = {}      # noqa: RUF012  (fingerprints of disks at rest, last point)
    origins: Dict[str, Any] = {}    # noqa: RUF012  (of the disks when `since` was made)
    run: str = ""                   # the guest's run in which `since` was made
    sent: Dict[str, Optional[str]] = {}     # noqa: RUF012  (what was sent since, see sent_since)
    unbroken: bool = False          # increments only within that run


class Copy(abc.ABC):
    """
    A copy that is open.

    `begun` is the answer to `begin`; `report` can be read once the copy has ended by itself.
    """

    begun: Dict[str, Any]
    report: Optional[int] = None

    @abc.abstractmethod
    def end(self) -> Dict[str, Any]:
        """Close it and return how it ended."""


def measured(socket: str, export: str, bitmap: str, sent: Optional[str], why: str, *,
             at_rest: bool = False, guarded: bool = False) -> Dict[str, Any]:
    """
    Return how an open disk is to be read: its size, and how much of it has changed.

    The bitmap is not used where it lacks clusters that were sent since the checkpoint: then it is
    that of an earlier state of the disk. `holes`: zeros must be compared, too, unless one run of
    the guest has held the disk all the time: shrinking and growing an image leaves no mark in it.
    """
    with Nbd(socket, export, (bitmap_context(bitmap),) if bitmap else ()) as nbd:
        changed = dirty(nbd, bitmap) if bitmap else None
        if changed is not None and not covers(changed, sent):
            changed, bitmap, why = None, "", PUT_BACK
        disk = {"tracked": bool(bitmap), "why": why, "socket": socket,
                "export": export, "bitmap": bitmap, "size_bytes": nbd.size_bytes,
                "dirty_bytes": nbd.size_bytes if changed is None else changed.total_bytes,
                "holes": bool(bitmap) and not guarded}
    if at_rest:     # no checkpoint is made: what changed since the old one; None: not known
        disk["changed"] = None if changed is None else of_ranges(changed)
    return disk


def size_of(disk: Disk) -> int:
    """Return how large a disk is for its guest, as far as its file says; 0: unknown."""
    return virtual_size(disk.source, disk.format) or 0
