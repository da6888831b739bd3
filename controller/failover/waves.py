"""Which VMs may start elsewhere, which wait and why, and which start now.

VMs start in waves by `startOrder`, lowest first, and in each wave so many at once on a host as its
width says: boots compete for the same processors, so all at once is later for the last. A VM boots
until its health was seen. Of one of which nothing is wanted but that it runs, nobody could say when
it has booted: it takes no place, and is ordered at once; the host starts so many of these at a time
as its width says (remote/mover/failover/launch.py).

A wave goes on when each of its VMs is healthy, or its limit has passed: then it is `started, not
proven`, or `unhealthy` where what answered shows it, and the next wave starts all the same. A VM
that waits for a person holds up nobody but its group.
"""

from collections.abc import Iterator

from controller.failover.case import Case
from controller.failover.fencing import covers
from controller.failover.orders import Promote
from controller.failover.quorum import answers
from controller.failover.situation import MachineSituation, Progress
from controller.model.failover.record import Record

OVER = frozenset({Progress.HEALTHY, Progress.UNPROVEN, Progress.UNHEALTHY, Progress.FAILED})


def passing(case: Case) -> tuple[MachineSituation, ...]:
    """Return the VMs that may be promoted now, those already recorded aside."""
    waiting = dict(obstacles(case))
    return tuple(one for one in case.machines
                 if one.name not in waiting and case.promoted(one) is None)


def obstacles(case: Case) -> Iterator[tuple[str, str]]:
    """Yield each VM that must not be promoted now, with a sentence why."""
    own = {one.name: why for one in case.machines if case.promoted(one) is None
           and (why := obstacle(one, case)) is not None}
    groups = {one.group: one.name for one in case.machines
              if one.group is not None and one.name in own}
    for one in case.machines:
        if one.name in own:
            yield one.name, own[one.name]
        elif one.group in groups and case.promoted(one) is None:
            yield one.name, f"{one.name} waits for {groups[one.group]}, which is of its group"


def obstacle(machine: MachineSituation, case: Case) -> str | None:
    """Return why a VM must not be promoted now by itself."""
    return (unproven(machine, case) or gated(machine, case) or unwanted(machine, case))


def unproven(machine: MachineSituation, case: Case) -> str | None:
    """Return which host may still run a VM; None if each that may is proven off."""
    if machine.runs_on:
        return f"{machine.name} runs on {' and '.join(machine.runs_on)}"
    if not machine.home and not case.undeclared:
        return f"nobody knows where {machine.name} was last"
    homes = (machine.home,) if machine.home else tuple(case.undeclared)
    for host in dict.fromkeys((*homes, *machine.may_run_on)):
        seen = case.situation.hosts.get(host)
        if seen is not None and answers(seen, case.situation):
            if host in machine.may_run_on:
                return f"{host} answers, and it is not known whether it runs {machine.name}"
            continue
        fencing = case.fencings.get(host)
        if fencing is None and host not in case.undeclared:
            return f"{machine.name} may run on {host}, which is silent and not of this failover"
        proof = case.undeclared[host].proof if fencing is None else fencing.proof
        if proof is None:
            why = ("it left the specs before it was proven off, so declare it again"
                   if fencing is None else "; ".join(fencing.blockers))
            return f"{machine.name} may run on {host}: {why}"
        if not covers(proof, machine):
            return (f"{machine.name} goes on where it is cut off (`isolation: run`), and only the"
                    f" guard of {host} is proven to have acted: `hotsite confirm-fenced {host}`"
                    " where it is off")
    return None


def gated(machine: MachineSituation, case: Case) -> str | None:
    """Return what stands against promoting a VM besides its old host."""
    target = case.situation.hosts.get(machine.target or "")
    if machine.target is None or target is None:
        return next((gate.sentence for gate in machine.gates),
                    f"no host has a replica of {machine.name} that could start")
    if not answers(target, case.situation):
        return (f"the replica of {machine.name} is on {target.name}, which does not answer: it"
                " cannot start before that is back")
    accepted = case.touches(case.accepted, machine)
    return next((gate.sentence for gate in machine.gates if not (gate.yields and accepted)), None)


def unwanted(machine: MachineSituation, case: Case) -> str | None:
    """Return why nobody has decided yet that a VM starts elsewhere."""
    if case.touches(case.ordered, machine):
        return None
    name = case.scope.partition("/")[2]
    if machine.failover == "manual":
        return f"{machine.name} fails over only by `hotsite failover {machine.name}`"
    if machine.failover == "confirm":
        return f"{machine.name} waits for `hotsite failover {name}`"
    if case.situation.controller_inside:
        return case.situation.controller_inside
    begun_by_policy = case.record is not None and not case.record.ordered
    if not begun_by_policy and case.agreed is None:
        return f"{machine.name} waits until two places agree, or `hotsite failover {name}`"
    return None


def next_starts(case: Case, held: Record) -> tuple[Promote, ...]:
    """Return which VMs of the record start now."""
    wave, room = current_wave(case), dict[str, int]()
    for machine in case.machines:
        if (machine.progress is Progress.STARTING and machine.watched
                and machine.name in held.machines):
            node = held.machines[machine.name].node
            room[node] = room.get(node, _width(node, case)) - 1
    starts = []
    for machine in wave:
        found = held.machines.get(machine.name)
        if machine.progress is not Progress.WAITING or found is None:
            continue
        left = room.get(found.node, _width(found.node, case))
        if not machine.watched:
            starts.append(Promote(machine.name, found.point, found.node, held.epoch))
        elif left > 0:
            room[found.node] = left - 1
            starts.append(Promote(machine.name, found.point, found.node, held.epoch))
    return tuple(starts)


def _width(node: str, case: Case) -> int:
    host = case.situation.hosts.get(node)
    return 1 if host is None else max(1, host.start_width)


def current_wave(case: Case) -> tuple[MachineSituation, ...]:
    """Return the VMs of the lowest start order that is not over, sorted by name."""
    ongoing = [one for one in case.machines
               if case.promoted(one) is not None and one.epoch <= case.epoch
               and stuck(one, case) is None
               and one.progress not in OVER]
    first = min((one.start_order for one in ongoing), default=0)
    return tuple(one for one in ongoing if one.start_order == first)


def stuck(machine: MachineSituation, case: Case) -> str | None:
    """Return why a recorded VM cannot start now, whatever its turn; None if it can, or did."""
    node = case.promoted(machine)
    if node is None or machine.progress in OVER:
        return None
    host = case.situation.hosts.get(node)
    if host is None or not answers(host, case.situation):
        return f"{machine.name} was to start on {node}, which does not answer now"
    return unproven(machine, case) if machine.progress is Progress.WAITING else None


def waiting_sentences(case: Case) -> tuple[str, ...]:
    """Return a sentence for each VM that does not come back by itself."""
    running = {one.name for one in case.machines if one.runs_on}
    found = [why for name, why in obstacles(case) if name not in running]
    for one in case.machines:
        if case.promoted(one) is None:
            continue
        why = stuck(one, case)
        if why is not None:
            found.append(why)
        elif one.progress is Progress.FAILED:
            found.append(f"{one.name} could not be started: {one.detail}")
        elif one.progress in {Progress.UNPROVEN, Progress.UNHEALTHY}:
            found.append(f"{one.name} is {one.progress}: {one.detail}")
    return tuple(dict.fromkeys(found))
