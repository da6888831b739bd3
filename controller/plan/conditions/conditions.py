"""Conditions: what can be said of every object after one look, each with a sentence.

Rule 1: a condition that is not here is unknown. Suspended and Stalled are said only while true,
Ready of a site only in a storm.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from controller.model.condition import Condition, ConditionType, Status
from controller.model.facts import runs
from controller.model.instants import render_instant
from controller.model.units import render_duration
from controller.model.virtual_machine import Power, VirtualMachine
from controller.plan.actions.action import Action
from controller.plan.actions.desired import AttachNic, UpdateNic
from controller.plan.actions.machine import (
    MigrateDomain,
    PruneDomain,
    ReconfigureDomain,
)
from controller.plan.actions.network import AddUplink, CreateBridge, SetPortVlan, WidenTrunk
from controller.plan.conditions.network import link_conditions, network_conditions
from controller.plan.conditions.survivable import site_conditions
from controller.plan.gates.gates import storms_of
from controller.plan.gates.laws import LAW
from controller.plan.machine.layout import Layout
from controller.plan.machine.state import Stand, Standing
from controller.plan.steps.contained import FAULTS, not_understood
from controller.plan.steps.draft import Stall
from controller.plan.steps.plan import Step
from controller.plan.survey.spoken import every_scope
from controller.plan.survey.survey import Survey

READY, PLACED, CONNECTED = ConditionType.READY, ConditionType.PLACED, ConditionType.CONNECTED
TRUE, FALSE, UNKNOWN = Status.TRUE, Status.FALSE, Status.UNKNOWN
CARDS = (AttachNic, UpdateNic)
STALLS: Final = {"quarantine": "Quarantined", "undone": "Undone", LAW: "LawBroken"}
"""Gates that leave an object to a person, each with the reason that is given."""
WORDS: Final = {Standing.RENAMED: "AnotherName", Standing.TAKEN: "Taken"}
ON_ITS_NETWORKS: Final = "its cards and the host's uplinks are on their VLANs"


@dataclass(frozen=True, slots=True)
class Pending:
    """What the steps say of the objects, looked up by target or by node."""

    by_target: Mapping[str, Action]
    """The first step on each target that is no migration."""
    cards: Mapping[str, Action]
    """By VM: the first step that puts a card of it right."""
    networks: Mapping[str, Action]
    """By node: the first step on its bridge or its trunks."""


def conditions_of(ground: Survey, stands: Mapping[str, Stand], layout: Layout,
                  steps: tuple[Step, ...], stalls: list[Stall]) -> tuple[Condition, ...]:
    """Return every condition that can be told from specs, facts and the plan itself."""
    pending = pending_of(steps)
    found = node_conditions(ground, pending, {stall.target: stall for stall in stalls})
    found += storm_conditions(ground)
    found += link_conditions(ground)
    found += network_conditions(ground, steps, stalls)
    found += site_conditions(ground, layout)
    machines = ground.desired.virtual_machines
    for name in ground.given.machines:
        try:
            found += machine_conditions(machines[name], stands[name], layout, pending, ground)
        except FAULTS as error:
            found.append(unclear(f"VirtualMachine/{name}", error, ground))
    found += suspended_conditions(ground)
    found += stalled_conditions(ground, steps, stalls)
    return tuple(found)


def unclear(target: str, error: Exception, ground: Survey) -> Condition:
    """Return what is said of an object that could not be thought through."""
    return Condition(target, READY, UNKNOWN, "NotUnderstood", not_understood(target, error),
                     ground.desired.revision)


def pending_of(steps: tuple[Step, ...]) -> Pending:
    """Return the steps indexed for lookups."""
    by_target: dict[str, Action] = {}
    cards: dict[str, Action] = {}
    networks: dict[str, Action] = {}
    for step in steps:
        action = step.action
        if not isinstance(action, MigrateDomain):
            by_target.setdefault(action.target, action)
        if isinstance(action, SetPortVlan) or (
                isinstance(action, ReconfigureDomain | PruneDomain)
                and any(isinstance(change, CARDS) for change in action.changes)):
            cards.setdefault(action.target, action)
        elif isinstance(action, CreateBridge | AddUplink | WidenTrunk):
            networks.setdefault(action.node, action)
    return Pending(by_target, cards, networks)


def node_conditions(ground: Survey, pending: Pending,
                    stalls: Mapping[str, Stall]) -> list[Condition]:
    """Return whether every host and switch is as declared."""
    found = []
    desired = ground.desired
    targets = [f"Host/{name}" for name in sorted(desired.hosts)]
    targets += [f"Switch/{name}" for name in sorted(desired.switches)]
    for target in targets:
        name = target.partition("/")[2]
        action = pending.by_target.get(target)
        if name in ground.lost:
            answer = (FALSE, "AssumedDown", "taken as lost")
        elif name in ground.blind and name in ground.nodes:
            answer = (UNKNOWN, "LibvirtSilent",
                      f"libvirt does not answer: {ground.blind[name].why}")
        elif name not in ground.nodes:
            answer = (UNKNOWN, "Silent", f"{name} {ground.node_silence(name)}")
        elif name in ground.faded:
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


def storm_conditions(ground: Survey) -> list[Condition]:
    """Return which sites cannot be told well from unwell: too many of their hosts are silent."""
    return [Condition(f"Site/{site}", READY, UNKNOWN, "Storm", sentence, ground.desired.revision)
            for site, sentence in storms_of(ground).items()]


def all_well(target: str, host: str, revision: str) -> tuple[Condition, ...]:
    """Return the conditions of a VM with which nothing is wrong: the same ones at every turn."""
    return (Condition(target, READY, TRUE, "Running", f"it runs on {host} as declared", revision),
            Condition(target, PLACED, TRUE, "WhereItBelongs", f"it is on {host}", revision),
            Condition(target, CONNECTED, TRUE, "OnItsNetworks", ON_ITS_NETWORKS, revision))


def machine_conditions(vm: VirtualMachine, stand: Stand, layout: Layout, pending: Pending,
                       ground: Survey) -> Iterable[Condition]:
    """Return Ready, Placed and, while it runs, Connected of one VM."""
    name, revision = vm.metadata.name, ground.desired.revision
    target = f"VirtualMachine/{name}"
    standing, host = stand.standing, stand.host
    if (standing is Standing.RUNNING and host is not None and layout.goals.get(name) == host
            and name not in layout.why and name not in layout.lost
            and target not in pending.by_target and target not in pending.cards
            and host not in pending.networks and not stand.rivals
            and stand.domain is not None and stand.domain.state == "running"):
        return ground.given.usual(all_well, target, host, revision)
    if name in layout.lost:
        return [Condition(target, kind, FALSE, "AssumedLost", "taken as lost", revision)
                for kind in (READY, PLACED)]
    found = split_brain(target, stand, revision)
    if standing in {Standing.HIDDEN, Standing.MOVING}:
        reason = "CannotBeSeen" if standing is Standing.HIDDEN else "InMotion"
        return [*found, *(Condition(target, kind, UNKNOWN, reason, stand.sentence, revision)
                          for kind in (READY, PLACED, CONNECTED))]
    if host is None:
        return [*found, Condition(target, READY, *_ready_nowhere(vm, stand, layout), revision),
                Condition(target, PLACED, FALSE, "Nowhere", layout.why.get(name)
                          or "it exists on no host yet", revision)]
    found.append(Condition(
        target, READY, *_ready(vm, stand, pending.by_target.get(target)), revision))
    goal = layout.goals.get(name)
    if goal == host and name not in layout.why:
        found.append(Condition(target, PLACED, TRUE, "WhereItBelongs", f"it is on {host}",
                               revision))
    else:
        found.append(Condition(target, PLACED, FALSE, "Elsewhere",
                               f"it is on {host}: {layout.why.get(name, '')}", revision))
    if standing is Standing.RUNNING:
        bad = pending.cards.get(target) or (pending.networks.get(host) if vm.spec.nics else None)
        found.append(Condition(target, CONNECTED, TRUE, "OnItsNetworks", ON_ITS_NETWORKS, revision)
                     if bad is None else
                     Condition(target, CONNECTED, FALSE, "VlanDiffers", bad.reason, revision))
    return found


def split_brain(target: str, stand: Stand, revision: str) -> list[Condition]:
    """Return that a VM runs twice, under whatever names; nothing where it does not."""
    double = stand.standing is Standing.DOUBLE or (
        stand.domain is not None and runs(stand.domain)
        and any(rival.claim.runs and not rival.claim.unseen and rival.is_now
                for rival in stand.rivals))
    if not double:
        return []
    sentence = stand.sentence or "; ".join(str(rival) for rival in stand.rivals)
    return [Condition(target, ConditionType.SPLIT_BRAIN, TRUE, "RunsTwice", sentence, revision)]


def _ready(vm: VirtualMachine, stand: Stand, action: Action | None) -> tuple[Status, str, str]:
    if stand.standing in {Standing.RENAMED, Standing.TAKEN}:
        return FALSE, WORDS[stand.standing], stand.sentence
    if action is not None:
        return FALSE, "Differs", action.reason
    if stand.standing is Standing.RUNNING:
        if stand.domain is not None and stand.domain.state != "running":
            return FALSE, "NotRunning", f"it is {stand.domain.state} on {stand.host}"
        return TRUE, "Running", f"it runs on {stand.host} as declared"
    if vm.spec.power is Power.OFF:
        return TRUE, "OffAsDeclared", f"it is off on {stand.host}, as declared"
    return FALSE, "Off", f"it is off on {stand.host} and must not be started now"


def _ready_nowhere(vm: VirtualMachine, stand: Stand, layout: Layout) -> tuple[Status, str, str]:
    if stand.standing is Standing.DOUBLE:
        return FALSE, "TwoRunningCopies", stand.sentence
    if stand.standing is Standing.SPLIT:
        return FALSE, "SeveralCopies", stand.sentence
    if stand.standing in WORDS:
        return FALSE, WORDS[stand.standing], stand.sentence
    return FALSE, "DoesNotExist", layout.why.get(vm.metadata.name) or "it exists on no host yet"


def suspended_conditions(ground: Survey) -> list[Condition]:
    """Return every scope that is paused now, with by whom, until when and why."""
    paused = ground.paused
    return [Condition(
        target, ConditionType.SUSPENDED, TRUE, "Suspended", f"by {paused[target].by} until"
        f" {render_instant(paused[target].until_at)}: {paused[target].why}",
        ground.desired.revision)
        for target, _ in (every_scope(ground.desired) if paused else ()) if target in paused]


def stalled_conditions(ground: Survey, steps: tuple[Step, ...],
                       stalls: list[Stall]) -> list[Condition]:
    """Return every object that waits for a person."""
    said = {stall.target: (stall.reason, stall.sentence) for stall in stalls}
    for step in steps:
        if step.ruling.rule in STALLS:
            said.setdefault(step.action.target, (STALLS[step.ruling.rule], step.ruling.sentence))
    return [Condition(target, ConditionType.STALLED, TRUE, *said[target], ground.desired.revision)
            for target in sorted(said)]
