"""Pin a restore point: whoever holds a pin can build on the point's files."""

from __future__ import annotations

from typing import Any, Dict, List

from mover.errors import TryAgain
from mover.replica.abandon import record_lost_in_merges
from mover.replica.remove import user_of
from mover.replica.replica import Replica, locked
from mover.replica.retire import finish
from mover.replica.state import point_of
from mover.requests import Requests


def run(words: List[str]) -> Dict[str, Any]:
    """
    Pin a point for {"replica", "holder", "sequence"}; with sequence null, unpin it.

    From then on no file that the point reads goes or is merged, whatever is retired, repaired,
    bypassed or removed. Merges that a crash cut off are finished first.
    """
    request = Requests().request
    with locked(str(request["replica"]), patience_s=10) as replica:
        if request.get("sequence") is not None:
            point_of(replica.state, int(request["sequence"]))
            finish_merges(replica)
        pins = {who: at for who, at in replica.state.pins.items() if who != request["holder"]}
        if request.get("sequence") is not None:
            point = point_of(replica.state, int(request["sequence"]))
            pins[str(request["holder"])] = point.sequence
        replica.commit(replica.state._replace(pins=pins))
        return {"pins": pins}


def finish_merges(replica: Replica) -> None:
    """
    Finish what merges have begun, so that a point to be pinned has only files that stay.

    Errors: TryAgain while a process uses the replica: a merge writes to what it may read.
    """
    if not replica.state.floor or replica.state.pins:
        return
    user = user_of(replica.root)
    if user is not None:
        raise TryAgain("%s has a merge that was cut off, and is in use by %s: end that first"
                       % (replica.root, user))
    record_lost_in_merges(replica)
    finish(replica)
