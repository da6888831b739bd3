"""Export: which restore point of a VM is written as files of its own on a person's request."""

from controller.errors import Refused
from controller.model.facts import Known, Observed
from controller.model.replica import ReplicaFacts
from controller.plan.actions.action import Cause
from controller.plan.actions.replica import ExportPoint


def plan_export(observed: Observed, machine: str, folder: str, sequence: int | None = None, *,
                damaged: bool = False, formers: tuple[str, ...] = ()) -> ExportPoint:
    """Return the action that writes a point into `folder` on the host that holds it.

    Shapes: without `sequence` the newest sound point; `damaged` allows a damaged one; `formers` are
    former names of the VM, which its replica may still have.
    Errors: Refused with a sentence, if there is no such point or it may not be exported.
    """
    held = replicas_of(observed, (machine, *formers))
    if not held:
        unseen = ", ".join(sorted(node for node, fact in observed.nodes.items()
                                  if not isinstance(fact, Known)))
        also = f"; {unseen} cannot be seen now and may have it" if unseen else ""
        raise Refused(f"no host that answers holds a replica of {machine}{also}")
    found = [(point, host, replica) for host, replica in held for point in replica.points
             if sequence in {None, point.sequence}]
    if not found:
        there = sorted({point.sequence for _, replica in held for point in replica.points})
        raise Refused(f"the replica of {machine} has no restore point {sequence}: there are"
                      f" {', '.join(map(str, there)) or 'none'}")
    sound = [one for one in found if not one[0].damaged_clusters
             and not (one[0].diverged and sequence is None)]
    if not sound and not damaged:
        damage = found[-1][0]
        if damage.diverged and not damage.damaged_clusters:
            raise Refused(f"{machine} has no restore point but {damage.sequence}, which is what an"
                          " older copy of it held at its end: name it with --point")
        raise Refused(f"restore point {damage.sequence} of {machine} reads wrong in"
                      f" {damage.damaged_clusters} clusters: wait until it is repaired, name"
                      " another point, or add --damaged to take it as it is")
    point, host, replica = max(sound or found, key=lambda one: (one[0].started_at, one[1]))
    return ExportPoint(
        target=f"Replica/{machine}", node=host, path=replica.path, machine=machine, folder=folder,
        sequence=point.sequence, cause=Cause.HUMAN,
        reason=f"somebody wants restore point {point.sequence} of {machine} as files in {folder}",
        consequence=f"{', '.join(sorted(replica.disks))} written as qcow2; the replica stays as it"
                    " is")


def replicas_of(observed: Observed, names: tuple[str, ...]) -> list[tuple[str, ReplicaFacts]]:
    """Return every replica of a VM that can be read now, by host."""
    found = []
    for host, fact in sorted(observed.nodes.items()):
        replicas = fact.value.replicas if isinstance(fact, Known) else None
        if isinstance(replicas, Known):
            found += [(host, one) for _, one in sorted(replicas.value.items())
                      if not {one.machine, one.uuid}.isdisjoint(names) and not one.unreadable]
    return found
