"""Observing: what is only observed is looked at and spoken of, and no step of a plan touches it.

The diffs know nothing of this. They put down what an object lacks, whoever manages it; then every
step that touches anything that is only observed is taken out of the draft, with all steps that need
it first, and its reason is said: "would be changed if managed: …". So one place decides it, and no
diff can forget to ask. What a person is asked elsewhere is not asked here.

    of what is only observed               what becomes of it
    ---------------------------------------------------------------------------------------------
    any step on it, or that needs one      taken out; a remark says what differs
    copies of a VM with `protection`       done: the only exception that nobody orders
    a failover that a person ordered       done, with all that follows from it
    records, grants and dropped addresses  done: they belong to the failover of what is managed
    a question, or a wait for a person     only said; two running copies are always shown

Rule 1: only the nearest word counts (`survey/grants.py`); of all objects that a step touches, one
        that is only observed is enough.
Rule 2: nothing fails over by itself if its VM, its host or the host with its replica is only
        observed (`../failover/situation.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from controller.model.document import Manage
from controller.plan.actions.action import Action, Cause
from controller.plan.actions.failover import EndStaleDomain, MoveDomain, WriteRecord
from controller.plan.actions.fencing import AdmitAddresses, DropAddresses, FenceHost
from controller.plan.actions.guarding import RestoreGrants, RevokeGrants
from controller.plan.actions.machine import DisableAutostart
from controller.plan.actions.promotion import AdoptDisks, PromoteReplica
from controller.plan.actions.replica import (
    DropPoints,
    RemoveReplica,
    ReplicateDomain,
    RetirePoints,
    SweepLeftovers,
    VerifyReplica,
)
from controller.plan.gates.scopes import affected, declared_object
from controller.plan.machine.state import Location
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.steps.draft import Draft, Item, Stall, counted
from controller.plan.steps.plan import Ruling, Step, Verdict
from controller.plan.survey.grants import WOULD, because
from controller.plan.survey.survey import Survey

COPYING: Final = (ReplicateDomain, RetirePoints, DropPoints, VerifyReplica, RemoveReplica)
ORDERED: Final = (FenceHost, PromoteReplica, MoveDomain, EndStaleDomain, AdoptDisks)
OF_OTHERS: Final = (WriteRecord, RevokeGrants, RestoreGrants, DropAddresses, AdmitAddresses)
ALWAYS_SHOWN: Final = frozenset({"TwoRunningCopies", "NotUnderstood"})
OBSERVED: Final = "observed"


@dataclass(frozen=True, slots=True)
class Observing:
    """What was taken out of a draft because it is only observed."""

    steps: tuple[Step, ...] = ()
    """What would be done; refused, and in no plan."""
    unasked: frozenset[Stall] = frozenset()
    """What waits for no person, since nothing would be done."""
    sentence: str = ""
    """What is only observed, and by whose word; empty if nothing is."""


NOTHING_OBSERVED: Final = Observing()


def only_observe(locations: Mapping[str, Location], protected: Sequence[ProtectedMachine],
                 survey: Survey, draft: Draft) -> Observing:
    """Take every step that touches what is only observed out of the draft, and say what differs."""
    managing = survey.specs.managing
    if not managing.watches:
        return NOTHING_OBSERVED
    copying = {node for one in protected
               for node in (one.host, None if one.current is None else one.current.host)}
    taken: dict[str, tuple[Item, str]] = {}
    for item in draft.items:
        observer = observer_of(item.action, copying, survey)
        if observer is not None:
            taken[item.action.id] = item, observer
    while more := {item.action.id: (item, taken[first][1]) for item in draft.items
                   if item.action.id not in taken
                   for first in item.after if first in taken}:
        taken |= more
    draft.items[:] = [item for item in draft.items if item.action.id not in taken]
    for item, _ in taken.values():
        draft.remark(item.action.target, said(item.action))
    unasked = frozenset(stall for stall in draft.stalls if stall.reason not in ALWAYS_SHOWN
                        and _observer_of_target(stall.target, locations, survey) is not None)
    return Observing(tuple(
        Step(replace(item.action, reason=WOULD + item.action.reason), (), Ruling(
            Verdict.REFUSED, OBSERVED, f"only observed: {because(observer, survey.desired)}",
            "a commit that says `manage: full` there")) for item, observer in taken.values()),
        unasked, render_observing(locations, protected, survey))


def said(action: Action) -> str:
    """Return the remark in place of a step."""
    after = f" ({action.consequence})" if action.consequence else ""
    return f"{WOULD}{action.reason}{after}"


def observer_of(action: Action, copying: set[str | None], survey: Survey) -> str | None:
    """Return the object by whose word nothing is done; None if the step may be done."""
    managing = survey.specs.managing
    if isinstance(action, OF_OTHERS) or _belongs_to_copies(action, copying, survey) or (
            _was_ordered(action, survey)):
        return None
    target = declared_object(action.target)
    nodes = tuple(dict.fromkeys((*(action.nodes or (action.node,)), *action.powers)))
    if target in managing.own:
        if managing.own[target] is Manage.OBSERVE:
            return target
        nodes = nodes[1:]
    for node in nodes:
        observer = managing.observer(node=node)
        if observer is not None:
            return observer
    return next((one for one in affected(action, survey)
                 if managing.own.get(one) is Manage.OBSERVE), None)


def _belongs_to_copies(action: Action, copying: set[str | None], survey: Survey) -> bool:
    """Return whether a step makes or keeps restore points of a protected VM, or tidies up after."""
    if isinstance(action, SweepLeftovers):
        return action.node in copying
    if not isinstance(action, COPYING):
        return False
    vm = survey.desired.virtual_machines.get(action.target.partition("/")[2])
    return vm is not None and vm.spec.protection is not None


def _was_ordered(action: Action, survey: Survey) -> bool:
    """Return whether a person ordered the failover that a step belongs to."""
    name = action.target.partition("/")[2]
    if isinstance(action, ORDERED):
        return action.cause is Cause.HUMAN or (
            name in survey.epochs and isinstance(action, EndStaleDomain | AdoptDisks))
    return isinstance(action, DisableAutostart) and any(
        one.host == action.node for one in survey.superseded.get(name, ()))


def _observer_of_target(target: str, locations: Mapping[str, Location],
                        survey: Survey) -> str | None:
    """Return by whose word an object is only observed; a replica is looked after all the same."""
    kind, _, name = target.partition("/")
    managing = survey.specs.managing
    if kind == "VirtualMachine":
        vm, location = survey.desired.virtual_machines.get(name), locations.get(name)
        if vm is not None:
            return managing.of_machine(vm, None if location is None else location.host)
        return next((managing.observer(node=one.host) for one in survey.sightings.get(name, ())),
                    None)
    if kind in {"Host", "Switch", "Witness"}:
        return managing.observer(node=name)
    return None if kind == "Replica" else managing.observer(target)


def render_observing(locations: Mapping[str, Location], protected: Sequence[ProtectedMachine],
                     survey: Survey) -> str:
    """Return one sentence: what is only observed, by whose word, and what is done all the same."""
    managing, desired = survey.specs.managing, survey.desired
    machines = [name for name, vm in desired.virtual_machines.items()
                if managing.of_machine(vm, locations[name].host) is not None]
    hosts = [name for name in desired.hosts if managing.observer(node=name) is not None]
    parts = []
    if len(machines) + len(hosts) == len(desired.virtual_machines) + len(desired.hosts):
        parts.append("everything is observed only")
    else:
        parts.append(f"observed only: {len(hosts)} of {counted(len(desired.hosts), 'host')} and"
                     f" {len(machines)} of {counted(len(desired.virtual_machines), 'VM')}")
    words = sorted(target for target, manage in managing.own.items() if manage is Manage.OBSERVE)
    others = f" and {len(words) - 1} more" if len(words) > 1 else ""
    first = managing.estate if managing.estate in words else words[0]
    parts.append(f", because {because(first, desired)}{others}: nothing is done to it")
    copied = len({one.name for one in protected} & set(machines))
    if copied:
        parts.append(f", but {counted(copied, 'protected VM')}"
                     f" {'is' if copied == 1 else 'are'} copied")
    return "".join(parts)
