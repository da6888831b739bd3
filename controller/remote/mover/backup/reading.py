"""What the copies of a VM that runs and of one at rest have in common: what is asked, and told."""

from __future__ import annotations

import abc
from typing import Any, Dict, NamedTuple, Optional, Tuple

from mover.backup.backup_job import FULL, INCREMENT
from mover.backup.virsh import Disk
from mover.image.header import virtual_size
from mover.image.sent_since import are_within, of_ranges
from mover.transfer.extents import dirty
from mover.transfer.nbd import Nbd, bitmap_context

ELSEWHERE = "it does not lie where it did at the last point"
PUT_BACK = "its change tracking knows less than was sent since, as that of a disk that was put back"


class Begin(NamedTuple):
    """What a copy is asked to be; see begin.Wanted."""

    modes: Dict[str, str]
    checkpoint: str = ""
    since: str = ""
    keep: Tuple[str, ...] = ()
    quiesce: bool = False
    limit_s: float = 600
    scratch_bytes: Optional[int] = None
    known: Dict[str, Any] = {}      # noqa: RUF012  fingerprints of disks at rest, at the last point
    origins: Dict[str, Any] = {}    # noqa: RUF012  what disks lay in at the instant of `since`
    run: str = ""                   # of which process of the guest's that instant was
    sent: Dict[str, Optional[str]] = {}     # noqa: RUF012  see gone_over: by copies since `since`
    unbroken: bool = False          # increments only while that process runs on


class Copy(abc.ABC):
    """A copy that is open: `told` is what the conductor must know, `end` closes it."""

    told: Dict[str, Any]
    news: Optional[int] = None

    @abc.abstractmethod
    def end(self) -> Dict[str, Any]:
        """Close it and return how it ended."""


def measured(socket: str, export: str, bitmap: str, sent: Optional[str], why: str, *,
             at_rest: bool = False, guarded: bool = False) -> Dict[str, Any]:
    """
    Return how an open disk is to be read: how large it is, and how much of it has changed.

    It is read whole where its bitmap lacks what was sent since: one of an earlier state of it.
    Where no guest has held it all the while its holes are compared, too: no record tells of what
    was cut off by making a disk smaller and larger again.
    """
    with Nbd(socket, export, (bitmap_context(bitmap),) if bitmap else ()) as nbd:
        changed = dirty(nbd, bitmap) if bitmap else None
        if changed is not None and not are_within(sent, changed):
            changed, bitmap, why = None, "", PUT_BACK
        told = {"mode": INCREMENT if bitmap else FULL, "why": why, "socket": socket,
                "export": export, "bitmap": bitmap, "size_bytes": nbd.size_bytes,
                "dirty_bytes": nbd.size_bytes if changed is None else changed.total_bytes,
                "holes": bool(bitmap) and not guarded}
    if at_rest:     # since the checkpoint that stays the base; None where that is not known
        told["changed"] = None if changed is None else of_ranges(changed)
    return told


def size_of(disk: Disk) -> int:
    """Return how large a disk is for its guest, as far as its file tells."""
    return virtual_size(disk.source, disk.format) or 0
