"""Sweep up what a crash of ours has left on a host, after one more look by the host itself."""

from typing import Final

from controller.errors import Unavailable
from controller.plan.actions.replica import SweepLeftovers
from controller.replication.mover import Mover

SWEEP_S: Final = 300.0


async def sweep(mover: Mover, action: SweepLeftovers) -> str:
    """Remove leftovers that are still without an owner."""
    answer = await mover.ask(
        "sweep", {"leftovers": [[str(one.kind), one.name] for one in action.leftovers]},
        failed=f"what is left over on {mover.name} was not removed", timeout_s=SWEEP_S)
    gone, kept = answer["removed"], answer["kept"]
    told = "; ".join(f"{name} stays: {why}" for name, why in sorted(kept.items()))
    if kept and not gone:
        raise Unavailable(f"nothing was swept up on {mover.name}: {told}; it is looked at again")
    names = ", ".join(sorted(gone))
    return f"swept up on {mover.name}: {names or 'nothing'}" + (f"; {told}" if told else "")
