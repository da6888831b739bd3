"""Release: which tail a person lets go, that is what an older copy of a VM held at its end."""

from controller.errors import Refused
from controller.model.facts import Observed
from controller.plan.actions.action import Cause
from controller.plan.actions.promotion import ReleaseTail
from controller.plan.replication.export import replicas_of


def plan_release(observed: Observed, machine: str, sequence: int | None = None, *,
                 formers: tuple[str, ...] = ()) -> ReleaseTail:
    """Return the action that lets a VM's tail go: point `sequence`, or the only one there is.

    Errors: Refused with a sentence, if there is no such tail, or several.
    """
    found = [(host, replica, point) for host, replica in replicas_of(observed, (machine, *formers))
             for point in replica.points
             if point.diverged and f"tail-{point.sequence}" in replica.pins
             and sequence in {None, point.sequence}]
    if not found:
        named = "no tail" if sequence is None else f"no tail that is restore point {sequence}"
        raise Refused(f"no host that answers keeps {named} of {machine}:"
                      f" `hotsite replica show {machine}` lists them")
    if len(found) > 1:
        there = ", ".join(f"{point.sequence} on {host}" for host, _, point in found)
        raise Refused(f"{machine} has several tails, restore points {there}: name one with --point")
    [(host, replica, point)] = found
    return ReleaseTail(
        target=f"Replica/{machine}", node=host, path=replica.path, sequence=point.sequence,
        epoch=replica.epoch, cause=Cause.HUMAN,
        reason=f"somebody no longer wants what {machine} wrote on {host} after it failed over, kept"
               f" for {point.kept_by or 'nobody'} as restore point {point.sequence}",
        consequence="retention lets it go, and nobody can go back to it any more")
