"""Conditions: the state of every object after one decision, each with a reason and a sentence.

Rule 1: a condition that is not listed is unknown. Suspended, Stalled, Observed, BreakGlass and
        ControllerInside are listed only while true, Ready of a site only in a storm.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from controller.model.condition import Condition, ConditionType, Status
from controller.model.desired import Desired
from controller.model.facts import runs
from controller.model.units import render_duration, render_instant
from controller.model.virtual_machine import Power, VirtualMachine
from controller.plan.actions.action import Action
from controller.plan.actions.desired import AttachNic, UpdateNic
from controller.plan.actions.failover import MoveDomain
from controller.plan.actions.guarding import RestoreGrants, RevokeGrants
from controller.plan.actions.machine import (
    MigrateDomain,
    PruneDomain,
    ReconfigureDomain,
)
from controller.plan.actions.network import AddUplink, CreateBridge, SetPortVlan, WidenTrunk
from controller.plan.break_glass.break_glass import condition_of
from controller.plan.conditions.fencing import fence_conditions
from controller.plan.conditions.network import link_conditions, network_conditions
from controller.plan.conditions.persistent import persistent_conditions
from controller.plan.gates.gates import storms_of
from controller.plan.gates.laws import LAW
from controller.plan.gates.observing import NOTHING_OBSERVED, Observing
from controller.plan.machine.layout import Layout
from controller.plan.machine.state import Location, MachineState
from controller.plan.network.linux_bridge import lacking, lacks
from controller.plan.steps.contained import FAULTS, not_understood
from controller.plan.steps.draft import Stall
from controller.plan.steps.plan import Step
from controller.plan.survey.controller import controller_inside
from controller.plan.survey.grants import because, every_scope
from controller.plan.survey.survey import Survey

READY, PLACED, CONNECTED = ConditionType.READY, ConditionType.PLACED, ConditionType.CONNECTED
TRUE, FALSE, UNKNOWN = Status.TRUE, Status.FALSE, Status.UNKNOWN
CARDS = (AttachNic, UpdateNic)
STALLS: Final = {"quarantine": "Quarantined", "undone": "Undone", LAW: "LawBroken"}
"""Rulings that leave an object to a person, each with the reason of its Stalled condition."""
WORDS: Final = {MachineState.RENAMED: "AnotherName", MachineState.TAKEN: "Taken"}
ON_ITS_NETWORKS: Final = "its cards and the host's uplinks are on their VLANs"


@dataclass(frozen=True, slots=True)
class Pending:
    """The steps that show an object to differ, by target or by node."""

    by_target: Mapping[str, Action]
    """The first step on each target, migrations and orders to grantors aside."""
    cards: Mapping[str, Action]
    """By VM: the first step that corrects one of its cards."""
    networks: Mapping[str, Action]
    """By node: the first step on its bridge or its trunks."""
    lacking: frozenset[str] = frozenset()
    """Hosts that lack a network, or whose network nobody judges."""


def conditions_of(survey: Survey, locations: Mapping[str, Location], layout: Layout,
                  steps: tuple[Step, ...], stalls: list[Stall],
                  observing: Observing = NOTHING_OBSERVED) -> tuple[Condition, ...]:
    """Return every condition that follows from the specs, the facts and the plan itself."""
    pending = replace(pending_of((*steps, *observing.steps)), lacking=frozenset(
        name for name, host in survey.desired.hosts.items()
        if host.spec.driver == "none" or lacks(host, survey)))
    found = node_conditions(survey, pending, {stall.target: stall for stall in stalls})
    found += fence_conditions(survey)
    found += storm_conditions(survey)
    found += controller_conditions(survey)
    if (glass := survey.context.break_glass) is not None:
        found.append(condition_of(glass, survey.desired.estate.name, survey.desired.revision,
                                  survey.now_s))
    found += link_conditions(survey)
    found += network_conditions(survey, steps, stalls)
    found += persistent_conditions(survey)
    machines = survey.desired.virtual_machines
    for name in survey.specs.machines:
        try:
            found += machine_conditions(machines[name], locations[name], layout, pending, survey)
        except FAULTS as error:
            found.append(unclear(f"VirtualMachine/{name}", error, survey))
    found += suspended_conditions(survey)
    found += stalled_conditions(
        survey, steps, [one for one in stalls if one not in observing.unasked])
    if observing.sentence:
        found += observed_conditions(locations, survey)
    return tuple(found)


def observed_conditions(locations: Mapping[str, Location], survey: Survey) -> list[Condition]:
    """Return Observed for every host, switch, network and VM that is only observed."""
    managing, desired = survey.specs.managing, survey.desired
    observers = {f"Host/{name}": managing.observer(node=name) for name in sorted(desired.hosts)}
    observers |= {f"Switch/{name}": managing.observer(node=name)
                  for name in sorted(desired.switches)}
    observers |= {f"Network/{name}": managing.observer(f"Network/{name}")
                  for name in sorted(desired.networks)}
    observers |= {f"VirtualMachine/{name}": managing.of_machine(
        desired.virtual_machines[name], locations[name].host) for name in survey.specs.machines}
    return [survey.specs.cached(observed, target, observer, desired)
            for target, observer in observers.items() if observer is not None]


def observed(target: str, observer: str, desired: Desired) -> Condition:
    """Return the condition of an object that is only observed."""
    vm = desired.virtual_machines.get(target.removeprefix("VirtualMachine/"))
    policy = None if vm is None else desired.protection_policies.get(vm.spec.protection or "")
    alone = policy is not None and policy.spec.failover == "automatic"
    return Condition(target, ConditionType.OBSERVED, TRUE, "ObservedOnly", (
        f"observed only, because {because(observer, desired)}"
        f"{'; so it does not fail over by itself' if alone else ''}"), desired.revision)


def controller_conditions(survey: Survey) -> list[Condition]:
    """Return ControllerInside, if this controller runs in a VM of the estate."""
    why = controller_inside(survey)
    return [] if not why else [Condition(
        f"Estate/{survey.desired.estate.name}", ConditionType.CONTROLLER_INSIDE, TRUE, "InsideVM",
        why, survey.desired.revision)]


def unclear(target: str, error: Exception, survey: Survey) -> Condition:
    """Return the condition of an object whose facts could not be evaluated."""
    return Condition(target, READY, UNKNOWN, "NotUnderstood", not_understood(target, error),
                     survey.desired.revision)


def pending_of(steps: tuple[Step, ...]) -> Pending:
    """Return the steps indexed for lookups."""
    by_target: dict[str, Action] = {}
    cards: dict[str, Action] = {}
    networks: dict[str, Action] = {}
    for step in steps:
        action = step.action
        if not isinstance(action, MigrateDomain | RevokeGrants | RestoreGrants):
            by_target.setdefault(action.target, action)
        if isinstance(action, SetPortVlan) or (
                isinstance(action, ReconfigureDomain | PruneDomain)
                and any(isinstance(change, CARDS) for change in action.changes)):
            cards.setdefault(action.target, action)
        elif isinstance(action, CreateBridge | AddUplink | WidenTrunk):
            networks.setdefault(action.node, action)
    return Pending(by_target, cards, networks)


def node_conditions(survey: Survey, pending: Pending,
                    stalls: Mapping[str, Stall]) -> list[Condition]:
    """Return whether every host and switch is as declared."""
    found = []
    desired = survey.desired
    targets = [f"Host/{name}" for name in sorted(desired.hosts)]
    targets += [f"Switch/{name}" for name in sorted(desired.switches)]
    for target in targets:
        name = target.partition("/")[2]
        action = pending.by_target.get(target)
        if name in survey.lost:
            answer = (FALSE, "AssumedDown", "taken as lost")
        elif name in survey.unreachable and name in survey.nodes:
            answer = (UNKNOWN, "LibvirtSilent",
                      f"libvirt does not answer: {survey.unreachable[name].why}")
        elif name not in survey.nodes:
            answer = (UNKNOWN, "Silent", f"{name} {survey.node_silence(name)}")
        elif name in survey.stale:
            answer = (UNKNOWN, "Silent", f"{name} has not answered for longer than"
                      f" {render_duration(desired.estate.spec.limits.fact_age_s)}")
        elif target in stalls:
            answer = (FALSE, stalls[target].reason, stalls[target].sentence)
        elif action is not None:
            answer = (FALSE, "Differs", action.reason)
        else:
            answer = (TRUE, "AsDeclared", "it answers and is as declared")
        found.append(Condition(target, READY, *answer, desired.revision))
    return found


def storm_conditions(survey: Survey) -> list[Condition]:
    """Return Ready as unknown for every site of which too many hosts are silent."""
    return [Condition(f"Site/{site}", READY, UNKNOWN, "Storm", sentence, survey.desired.revision)
            for site, sentence in storms_of(survey).items()]


def all_well(target: str, host: str, revision: str) -> tuple[Condition, ...]:
    """Return the conditions of a VM with which nothing is wrong: the same in every decision."""
    return (Condition(target, READY, TRUE, "Running", f"it runs on {host} as declared", revision),
            Condition(target, PLACED, TRUE, "WhereItBelongs", f"it is on {host}", revision),
            Condition(target, CONNECTED, TRUE, "OnItsNetworks", ON_ITS_NETWORKS, revision))


def machine_conditions(vm: VirtualMachine, location: Location, layout: Layout, pending: Pending,
                       survey: Survey) -> Iterable[Condition]:
    """Return Ready, Placed and, while it runs, Connected of one VM."""
    name, revision = vm.metadata.name, survey.desired.revision
    target = f"VirtualMachine/{name}"
    state, host = location.state, location.host
    if (state is MachineState.RUNNING and host is not None and layout.goals.get(name) == host
            and name not in layout.why and name not in layout.lost
            and target not in pending.by_target and target not in pending.cards
            and host not in pending.networks and host not in pending.lacking
            and not location.rivals
            and location.domain is not None and location.domain.state == "running"):
        return survey.specs.cached(all_well, target, host, revision)
    if name in layout.lost:
        return [Condition(target, kind, FALSE, "AssumedLost", "taken as lost", revision)
                for kind in (READY, PLACED)]
    found = split_brain(target, location, revision)
    if state in {MachineState.UNKNOWN, MachineState.BUSY}:
        reason = "CannotBeSeen" if state is MachineState.UNKNOWN else "InMotion"
        return [*found, *(Condition(target, kind, UNKNOWN, reason, location.sentence, revision)
                          for kind in (READY, PLACED, CONNECTED))]
    if host is None:
        return [*found, Condition(target, READY, *_ready_nowhere(vm, location, layout), revision),
                Condition(target, PLACED, FALSE, "Nowhere", layout.why.get(name)
                          or "it exists on no host yet", revision)]
    found.append(Condition(
        target, READY, *_ready(vm, location, pending.by_target.get(target)), revision))
    goal = layout.goals.get(name)
    if goal == host and name not in layout.why:
        found.append(Condition(target, PLACED, TRUE, "WhereItBelongs", f"it is on {host}",
                               revision))
    else:
        found.append(Condition(target, PLACED, FALSE, "Elsewhere",
                               f"it is on {host}: {layout.why.get(name, '')}", revision))
    if state is MachineState.RUNNING:
        found += connected(vm, host, pending, survey)
    return found


def connected(vm: VirtualMachine, host: str, pending: Pending, survey: Survey) -> list[Condition]:
    """Return Connected of a VM that runs; nothing where nobody judges the network of its host."""
    target, revision = f"VirtualMachine/{vm.metadata.name}", survey.desired.revision
    where = survey.desired.hosts.get(host)
    if where is not None and where.spec.driver == "none":
        return []
    bad = pending.cards.get(target) or (pending.networks.get(host) if vm.spec.nics else None)
    if bad is not None:
        return [Condition(target, CONNECTED, FALSE, "VlanDiffers", bad.reason, revision)]
    missing = None if where is None else lacking(vm, where, survey)
    if missing is not None:
        return [Condition(target, CONNECTED, FALSE, "NetworkMissing", missing, revision)]
    return [Condition(target, CONNECTED, TRUE, "OnItsNetworks", ON_ITS_NETWORKS, revision)]


def split_brain(target: str, location: Location, revision: str) -> list[Condition]:
    """Return SplitBrain if a VM runs twice, under whatever names; else nothing."""
    runs_twice = location.state is MachineState.SPLIT_BRAIN or (
        location.domain is not None and runs(location.domain)
        and any(rival.claim.runs and not rival.claim.unseen and rival.is_now
                for rival in location.rivals))
    if not runs_twice:
        return []
    sentence = location.sentence or "; ".join(str(rival) for rival in location.rivals)
    return [Condition(target, ConditionType.SPLIT_BRAIN, TRUE, "RunsTwice", sentence, revision)]


def _ready(vm: VirtualMachine, location: Location,
           action: Action | None) -> tuple[Status, str, str]:
    if location.state in {MachineState.RENAMED, MachineState.TAKEN}:
        return FALSE, WORDS[location.state], location.sentence
    if action is not None:
        if isinstance(action, MoveDomain):
            return FALSE, "Moving", action.reason
        is_down = location.state is MachineState.OFF and vm.spec.power is not Power.OFF
        return FALSE, "Off" if is_down else "Differs", action.reason
    if location.state is MachineState.RUNNING:
        if location.domain is not None and location.domain.state != "running":
            return FALSE, "NotRunning", f"it is {location.domain.state} on {location.host}"
        return TRUE, "Running", f"it runs on {location.host} as declared"
    if vm.spec.power is Power.OFF:
        return TRUE, "OffAsDeclared", f"it is off on {location.host}, as declared"
    return FALSE, "Off", f"it is off on {location.host} and must not be started now"


def _ready_nowhere(vm: VirtualMachine, location: Location,
                   layout: Layout) -> tuple[Status, str, str]:
    if location.state is MachineState.SPLIT_BRAIN:
        return FALSE, "TwoRunningCopies", location.sentence
    if location.state is MachineState.AMBIGUOUS:
        return FALSE, "SeveralCopies", location.sentence
    if location.state in WORDS:
        return FALSE, WORDS[location.state], location.sentence
    return FALSE, "DoesNotExist", layout.why.get(vm.metadata.name) or "it exists on no host yet"


def suspended_conditions(survey: Survey) -> list[Condition]:
    """Return Suspended for every scope that is paused, with by whom, until when and why."""
    paused = survey.paused
    return [Condition(
        target, ConditionType.SUSPENDED, TRUE, "Suspended", f"by {paused[target].by} until"
        f" {render_instant(paused[target].until_at)}: {paused[target].why}",
        survey.desired.revision)
        for target, _ in (every_scope(survey.desired) if paused else ()) if target in paused]


def stalled_conditions(survey: Survey, steps: tuple[Step, ...],
                       stalls: list[Stall]) -> list[Condition]:
    """Return Stalled for every object that waits for a person."""
    stalled = {stall.target: (stall.reason, stall.sentence) for stall in stalls}
    for step in steps:
        if step.ruling.rule in STALLS:
            stalled.setdefault(step.action.target, (STALLS[step.ruling.rule], step.ruling.sentence))
    return [Condition(target, ConditionType.STALLED, TRUE, *why, survey.desired.revision)
            for target, why in sorted(stalled.items())]
