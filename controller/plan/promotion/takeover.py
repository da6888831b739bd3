"""Takeover: who comes back if a number of VMs are lost at once, where, from which point, and when.

    findings       what is in the way of each VM by itself
    points         its newest sound point; one instant for the VMs of a group; or what is asked for
    room           in the order of `rank`: never shed before shed first, then by start order
    waves          by start order; on each host so many boot at once as its width says

What a VM may meet:

    returns        nothing is in its way
    stays off      it is declared off
    shed           its host has not enough memory or CPUs for all, and its policy lets it stay off
    waits          something is in its way that a person may accept, or mend
    unknown        it cannot be seen now whether anything is

Rule 1: a VM that does not fit takes nothing, so that smaller ones after it still may.
Rule 2: equal arguments give an equal answer; ties go by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from controller.model.desired import Desired
from controller.model.virtual_machine import Power
from controller.plan.machine.capability import Misfit
from controller.plan.machine.promotion_room import (
    HostRoom,
    Left,
    PromotionRoom,
    size_when_promoted,
)
from controller.plan.packing.problem import PlaceMachine
from controller.plan.promotion.findings import Finding, examine, host_of
from controller.plan.promotion.point import (
    NEWEST,
    Asked,
    Candidate,
    Choice,
    choose_common,
    choose_point,
)
from controller.plan.promotion.surroundings import Surroundings
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.steps.takeover import (
    Growth,
    Obstacle,
    Obstacles,
    Outcome,
    Promotion,
    Takeover,
)
from controller.plan.survey.survey import Survey

CAPACITY: Final = frozenset({"MemoryShort", "HugePagesShort", "CpusShort"})
"""What a VM may be shed for."""
NOTHING_ASKED: Final[Mapping[str, Asked]] = {}


class Hindrance(NamedTuple):
    """Why a VM would not come back by itself; it is shed if its policy says so."""

    obstacles: Obstacles
    shed: bool = False

    @property
    def outcome(self) -> Outcome:
        """Return what it comes to."""
        if self.shed:
            return Outcome.SHED
        return Outcome.WAITS if any(one.sure for one in self.obstacles) else Outcome.UNKNOWN


class Trouble(NamedTuple):
    """What is wrong with lost VMs, by VM: only with those with which anything is."""

    hindrances: Mapping[str, Hindrance]
    misfits: Mapping[str, tuple[Misfit, ...]]

    def by_outcome(self) -> dict[Outcome, dict[str, Hindrance]]:
        """Return the hindrances by what they come to."""
        found: dict[Outcome, dict[str, Hindrance]] = {
            one: {} for one in (Outcome.WAITS, Outcome.UNKNOWN, Outcome.SHED)}
        for name, hindrance in self.hindrances.items():
            found[hindrance.outcome][name] = hindrance
        return found


NO_TROUBLE: Final = Trouble({}, {})


def rank(name: str, desired: Desired) -> tuple[int, int, str]:
    """Return who comes first where not all can: never shed, started early, by name."""
    spec = desired.virtual_machines[name].spec
    policy = None if spec.protection is None else desired.protection_policies[spec.protection].spec
    return 0 if policy is None else policy.shedding, spec.start_order, name


def find_trouble(lost: Sequence[ProtectedMachine], there: Surroundings) -> Trouble:
    """Return which of the lost VMs would not come back by themselves, and why; quick if none."""
    found: dict[str, Hindrance] = {}
    misfits: dict[str, tuple[Misfit, ...]] = {}
    coming: dict[str, tuple[list[PlaceMachine], list[Growth]]] = {
        host: ([], []) for host in there.hosts}
    layout, survey = there.layout, there.survey
    unseen = Hindrance(there.unlisted)
    for protected in lost:
        if there.unlisted and protected.current is None and not protected.stale:
            found[protected.name] = unseen      # most of a large estate at the first looks
            continue
        host = host_of(protected, there)
        finding = examine(protected, host, there)
        own = with_age(protected, finding, survey)
        if own:
            found[protected.name] = Hindrance(own)
        if finding.misfits:
            misfits[protected.name] = finding.misfits
        if host is not None and host.closed is None:
            machines, growths = coming[host.name]
            machines.append(size_when_promoted(protected.name, layout, survey))
            growths.append(finding.growth)
    room = there.room()
    for name, (machines, growths) in coming.items():
        if machines:
            for machine, lacking in survey.specs.cached(
                    settle, name, survey.desired, room.left(name), tuple(machines),
                    tuple(growths)).items():
                found[machine] = lacking if machine not in found else Hindrance(
                    (*found[machine].obstacles, *lacking.obstacles))
    for machine, gates in group_gates(lost, there).items():
        before = found.get(machine, Hindrance(()))
        found[machine] = Hindrance((*before.obstacles, *gates))
    return Trouble(found, misfits)


def with_age(protected: ProtectedMachine, finding: Finding, survey: Survey) -> Obstacles:
    """Return what is in the way of a VM by itself, the age of its point included."""
    if protected.vm.spec.group is not None or (
            finding.from_at <= survey.now_s and lost_at(protected, survey) <= finding.until_at):
        return finding.obstacles
    return (*finding.obstacles, *choose_point(candidate(protected, survey)).gates)


def settle(_: str, desired: Desired, left: Left, machines: tuple[PlaceMachine, ...],
           growths: tuple[Growth, ...]) -> dict[str, Hindrance]:
    """Return which of the VMs that come to one host find no room there, and what lacks."""
    room, found = HostRoom(left), {}
    for machine, growth in sorted(zip(machines, growths, strict=True),
                                  key=lambda one: rank(one[0].name, desired)):
        if room.fits(machine, growth):
            room.take(machine, growth)
        else:
            lacks = room.lacks(machine, growth)
            found[machine.name] = Hindrance(lacks, may_be_shed(machine.name, lacks, desired))
    return found


def may_be_shed(name: str, obstacles: Obstacles, desired: Desired) -> bool:
    """Return whether a VM stays off by its policy: only capacity is in its way."""
    return rank(name, desired)[0] > 0 and all(one.reason in CAPACITY for one in obstacles)


def candidate(protected: ProtectedMachine, survey: Survey) -> Candidate:
    """Return a VM with the points of its replica."""
    current = protected.current
    return Candidate(protected.name, () if current is None else current.replica.points,
                     protected.policy, lost_at(protected, survey), survey.now_s)


def lost_at(protected: ProtectedMachine, survey: Survey) -> float:
    """Return since when a VM cannot have written any more, as far as is known; now if it may."""
    silent = survey.unreachable.get(protected.host or "")
    if silent is None or silent.since_at <= 0:
        return survey.now_s
    return min(silent.since_at, survey.now_s)


def group_gates(lost: Sequence[ProtectedMachine], there: Surroundings) -> dict[str, Obstacles]:
    """Return, by VM of a group, what is in its way because of the others of its group."""
    if not there.survey.specs.groups:
        return {}
    return {name: choice.gates for name, choice in choices(lost, NOTHING_ASKED, there).items()
            if choice.gates and name in there.survey.specs.group_of}


def choices(lost: Sequence[ProtectedMachine], asked: Mapping[str, Asked],
            there: Surroundings) -> dict[str, Choice]:
    """Return the point that each lost VM comes back from; `asked` is by VM."""
    survey = there.survey
    groups: dict[str, list[ProtectedMachine]] = {}
    found: dict[str, Choice] = {}
    for protected in lost:
        group = protected.vm.spec.group
        if group is None:
            found[protected.name] = choose_point(candidate(protected, survey),
                                                 asked.get(protected.name, NEWEST))
        else:
            groups.setdefault(group, []).append(protected)
    for group, members in sorted(groups.items()):
        first = next((asked[one.name] for one in members if one.name in asked), NEWEST)
        common = choose_common([candidate(one, survey) for one in members], first)
        names = {one.name for one in members}
        others = [name for name in survey.specs.groups[group] if name not in names]
        for name, choice in common.items():
            found[name] = choice if not others else choice._replace(
                gates=(*choice.gates, _left_running(group, others)))
    return found


def _left_running(group: str, others: Sequence[str]) -> Obstacle:
    verb = "is" if len(others) == 1 else "are"
    return Obstacle("GroupSplit", f"{' and '.join(others)} of its group {group} {verb} not lost"
                    " with it and would go on as of now", yields=True)


def take_over(lost: Sequence[ProtectedMachine], there: Surroundings,
              asked: Mapping[str, Asked] = NOTHING_ASKED) -> Takeover:
    """Return how all lost VMs would come back; `asked` is by VM: an older point than the newest."""
    points = choices(lost, asked, there)
    room = there.room()
    found = [_promotion(protected, points[protected.name], room, there)
             for protected in sorted(lost, key=lambda one: rank(one.name, there.survey.desired))]
    orders = sorted({one.start_order for one in found if one.outcome is Outcome.RETURNS})
    waves = {order: number for number, order in enumerate(orders, start=1)}
    found.sort(key=lambda one: (one.outcome is not Outcome.RETURNS, one.start_order, one.machine))
    sites = sorted({one.site for one in lost if one.site is not None})
    return Takeover(there.site, " and ".join(sites), tuple(_with_wave(one, waves) for one in found))


def _promotion(protected: ProtectedMachine, choice: Choice, room: PromotionRoom,
               there: Surroundings) -> Promotion:
    host, shed = host_of(protected, there), False
    finding = examine(protected, host, there)
    growth = finding.growth
    gates = tuple(one for one in finding.obstacles if one.reason != "NoPoint") + (
        choice.gates if host is not None else ())
    off = protected.vm.spec.power is Power.OFF
    if host is not None and host.closed is None and not off:
        machine = size_when_promoted(protected.name, there.layout, there.survey)
        on_host = room.on(host.name)
        if on_host.fits(machine, growth):
            on_host.take(machine, growth)
        else:
            gates += on_host.lacks(machine, growth)
            shed = may_be_shed(protected.name, gates, there.survey.desired)
    outcome = Hindrance(gates, shed).outcome if gates else Outcome.RETURNS
    notes = (*([choice.note] if choice.note else []),
             *(one.sentence for one in finding.misfits if one.sentence not in {
                 gate.sentence for gate in gates}))
    current = protected.current
    return Promotion(
        protected.name, protected.uuid, Outcome.STAYS_OFF if off and not gates else outcome,
        protected.host, None if host is None else host.name,
        "" if current is None or host is None else current.replica.path, choice.point, gates,
        notes, protected.vm.spec.start_order, 0, growth, None if choice.point is None else max(
            0.0, lost_at(protected, there.survey) - choice.point.started_at))


def _with_wave(one: Promotion, waves: Mapping[int, int]) -> Promotion:
    return one if one.outcome is not Outcome.RETURNS else replace(
        one, wave=waves[one.start_order])
