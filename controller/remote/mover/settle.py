"""
See that what arrived is on the disk, and as it was sent, before it is made a restore point.

A verb of its own, since it takes a good part of the time and needs nothing of the source: the copy
there can be ended meanwhile.
"""

from __future__ import annotations

from typing import Any, Dict, List

from mover import incoming
from mover.errors import Refused, TryAgain
from mover.hashing import Hasher
from mover.incoming import Incoming
from mover.orders import Orders
from mover.replica import Replica

REREAD = ("disk", "memory", "no")


def run(words: List[str]) -> Dict[str, Any]:
    """
    Look at all that came for {"replica", "disks": […], "attempt", "reread"}.

    Errors: TryAgain when some of it is lost, or another attempt has it open by now.
    """
    request = Orders().request
    replica, reread = Replica(str(request["replica"])), str(request.get("reread", "disk"))
    attempt = str(request["attempt"])
    if reread not in REREAD:
        raise Refused("reread is one of %s" % ", ".join(REREAD))
    for disk in sorted(request["disks"]):
        folder = replica.disk_dir(disk)
        with incoming.hold(folder, shared=False):
            into = incoming.load(folder).require(attempt)
            try:
                look_again(into, disk, replica.hasher(), reread)
            finally:
                into.close()
            incoming.note_settled(folder, attempt)
    return {"settled": sorted(request["disks"])}


def look_again(into: Incoming, disk: str, hasher: Hasher, reread: str) -> None:
    """Compare every cluster with its hash; what does not fit is forgotten and TryAgain raised."""
    forgotten = incoming.recheck(into, hasher, cold=reread == "disk") if reread != "no" else 0
    if forgotten:
        incoming.unend(into.folder)
        raise TryAgain("%d clusters of disk %s are not what was received: send them again"
                       % (forgotten, disk))
