"""A drill by hand: of a VM, a group, all that a site's loss would take along, or of everything.

Rule 1: whoever asks for several hears of each one that cannot be drilled, and why; the others are.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from controller.errors import Refused
from controller.model.desired import Desired
from controller.model.facts import Known, Observed
from controller.model.replica import ReplicaFacts
from controller.model.virtual_machine import VirtualMachine
from controller.plan.actions.action import Cause
from controller.plan.actions.replica import DrillReplica
from controller.plan.drill.together import Holding, Unit, drill_of, no_room, startable, units_of
from controller.plan.promotion.point import NEWEST, Asked
from controller.plan.replication.export import replicas_of


class Drills(NamedTuple):
    """What comes of what a person asks for."""

    actions: tuple[DrillReplica, ...]
    refusals: tuple[str, ...] = ()
    """A sentence for each VM or group that is not drilled."""


def plan_drills(desired: Desired, observed: Observed, target: str, asked: Asked = NEWEST, *,
                by: str = "somebody") -> Drills:
    """Return the drills of a target: `VirtualMachine/x`, `Group/x`, `Site/x`, `Estate/x`.

    A VM that is in a group is drilled with it, unless one of its own points is asked for by number.

    Errors: Refused with a sentence, if none of them can be drilled now.
    """
    if asked.unreadable:
        raise Refused(asked.unreadable)
    actions, refusals = [], []
    for names in _sets(desired, observed, target, asked):
        try:
            actions += _plan(desired, observed, names, asked, by)
        except Refused as error:
            refusals.append(str(error))
    if not actions:
        raise Refused("; ".join(refusals) or f"no VM of {target} is protected: there is nothing to"
                      " drill")
    return Drills(tuple(actions), tuple(refusals))


def _sets(desired: Desired, observed: Observed, target: str, asked: Asked) -> list[
        tuple[str, ...]]:
    """Return the VMs of a target by who is drilled together."""
    kind, _, name = target.partition("/")
    machines = desired.virtual_machines
    protected = sorted(one for one, vm in machines.items() if vm.spec.protection is not None)
    if kind == "VirtualMachine":
        if name not in machines:
            raise Refused(f"no VM {name} is declared: there are"
                          f" {', '.join(sorted(machines)) or 'none'}")
        if asked.sequence is not None:
            return [(name,)]
        wanted = {name}
    elif kind == "Group":
        wanted = {one for one in protected if machines[one].spec.group == name}
        if asked.sequence is not None:
            raise Refused(f"number {asked.sequence} is a point of one VM, and {name} is drilled"
                          " together: ask for an instant")
    elif kind == "Site":
        wanted = {one for one in protected if not _only_at(machines[one], name, desired, observed)}
    else:
        wanted = set(protected)
    return _by_group(wanted, protected, machines)


def _only_at(vm: VirtualMachine, site: str, desired: Desired, observed: Observed) -> bool:
    """Return whether all that is seen of a VM's replicas is at a site: its loss takes them along.
    """
    sites = {desired.hosts[host].spec.site for host, _ in _replicas(observed, vm)
             if host in desired.hosts}
    return sites == {site}


def _by_group(wanted: Iterable[str], protected: Iterable[str],
              machines: Mapping[str, VirtualMachine]) -> list[tuple[str, ...]]:
    """Return these VMs, those of one group together, with the rest of their groups."""
    groups = {machines[name].spec.group for name in wanted} - {None}
    found: dict[str, list[str]] = {}
    for name in sorted({*wanted, *(one for one in protected
                                   if machines[one].spec.group in groups)}):
        group = machines[name].spec.group
        found.setdefault(f"VM {name}" if group is None else f"group {group}", []).append(name)
    return sorted(map(tuple, found.values()))


def _plan(desired: Desired, observed: Observed, names: tuple[str, ...], asked: Asked,
          by: str) -> list[DrillReplica]:
    """Return the drills of VMs that belong together; Refused where there is none."""
    held, missing = [], {}
    for name in names:
        try:
            held.append(_holding(observed, desired.virtual_machines[name], asked))
        except Refused as error:
            missing[name] = str(error)
    if not held:
        raise Refused("; ".join(missing.values()))
    units = units_of(held, {name: f"which is not drilled: {why}" for name, why in missing.items()})
    for unit in units:
        lacks = no_room(observed, unit.host, unit.memory_bytes)
        if lacks:
            raise Refused(f"{' and '.join(unit.names)} {_be(unit)} not drilled on {unit.host}:"
                          f" {lacks}")
    return [drill_of(unit, desired, by=by, cause=Cause.HUMAN, reason=_reason(unit, by))
            for unit in units]


def _be(unit: Unit) -> str:
    return "is" if len(unit.members) == 1 else "are"


def _reason(unit: Unit, by: str) -> str:
    points = " and ".join(f"restore point {point.sequence} of {one.name}"
                          for one, point in unit.members)
    return f"{by} wants to see {points} boot"


def _replicas(observed: Observed, vm: VirtualMachine) -> list[tuple[str, ReplicaFacts]]:
    return replicas_of(observed, (vm.metadata.name, *vm.spec.formerly))


def _holding(observed: Observed, vm: VirtualMachine, asked: Asked) -> Holding:
    """Return the replica of a VM that has the newest point that may be started.

    Errors: Refused with a sentence, if there is none.
    """
    name = vm.metadata.name
    held = _replicas(observed, vm)
    if not held:
        unseen = ", ".join(sorted(node for node, fact in observed.nodes.items()
                                  if not isinstance(fact, Known)))
        also = f"; {unseen} cannot be seen now and may have it" if unseen else ""
        raise Refused(f"no host that answers holds a replica of {name}{also}")
    able = [Holding(vm, host, replica, points) for host, replica in held
            if (points := startable(replica, asked))]
    if not able:
        raise Refused(_none_able(name, [replica for _, replica in held], asked))
    return max(able, key=lambda one: (one.points[-1].started_at, one.host))


def _none_able(name: str, replicas: list[ReplicaFacts], asked: Asked) -> str:
    """Return why no point of a VM can be started."""
    there = [one for one in replicas if one.promoted is None]
    if not there:
        return f"the replica of {name} has become the VM: there is nothing to drill"
    points = [point for one in there for point in one.points
              if asked.sequence in {None, point.sequence}]
    damaged = [one for one in points if one.damaged_clusters]
    if damaged:
        return (f"restore point {damaged[-1].sequence} of {name} reads wrong in"
                f" {damaged[-1].damaged_clusters} clusters: it would never be started in earnest")
    if points and asked.until_at is None:
        return (f"{name} has no restore point but {points[-1].sequence}, which is what an older"
                " copy of it held at its end: name it with --point")
    which = "" if asked.sequence is None else f" {asked.sequence}"
    when = "" if asked.until_at is None else " of that instant or before"
    return (f"the replica of {name} has no restore point{which}{when}: `hotsite replica show"
            f" {name}` lists them")
