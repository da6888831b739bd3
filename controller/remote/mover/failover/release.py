"""Release a tail: what an older copy of the VM held at its end is no longer kept as a point."""

from __future__ import annotations

from typing import Any, Dict, List

from mover.errors import Refused
from mover.replica.replica import locked
from mover.replica.state import point_of, require_epoch
from mover.requests import Requests


def run(words: List[str]) -> Dict[str, Any]:
    """
    Release the tail of {"replica", "epoch"}, or that which is point "sequence".

    Retention then retires it like any other point. The VM's former disks, which it consists of,
    stay where they are until then: the replica is built on them.
    """
    request = Requests().request
    with locked(str(request["replica"]), patience_s=10) as replica:
        state = replica.state
        require_epoch(state, request.get("epoch"))
        tails = [int(who.partition("-")[2]) for who in state.pins if who.startswith("tail-")]
        wanted = request.get("sequence")
        chosen = sorted(tails) if wanted is None else [int(wanted)]
        for sequence in chosen:
            if sequence not in tails:
                point_of(state, sequence)
                raise Refused("restore point %d is no tail that is kept" % sequence)
        if not chosen:
            raise Refused("the replica keeps no tail")
        replica.commit(state._replace(pins={
            who: at for who, at in state.pins.items()
            if who not in ["tail-%d" % sequence for sequence in chosen]}))
        return {"released": chosen, "pins": replica.state.pins}
