"""The decision, kept until something it rests on has changed: specs, facts, circumstances, time."""

from collections.abc import Callable

from controller.model.desired import Desired
from controller.model.facts import Known
from controller.plan.actions.action import Action
from controller.plan.actions.machine import DefineDomain, RemoveDomain, UndefineDomain
from controller.plan.actions.network import NarrowTrunk
from controller.plan.actions.storage import CreateDisk, PurgeFiles, ReturnDisk
from controller.plan.compute import compute
from controller.plan.gates.gates import is_storm
from controller.plan.replication.copy import margin_s
from controller.plan.steps.plan import Plan, Step
from controller.plan.survey.context import InFlight
from controller.plan.survey.renamed import nodes_of, renames
from controller.reconcile.decide.context import ContextBuilder, stays
from controller.reconcile.garbage import gc_paused
from controller.reconcile.observe.view import View

EVERYWHERE = (CreateDisk, ReturnDisk, DefineDomain, UndefineDomain, RemoveDomain, PurgeFiles,
              NarrowTrunk)
"""What is right only if no other host has the VM, or uses the VLAN: all are looked at before."""


class Decider:
    """Computes the plan when it is out of date, and hands out the last one otherwise."""

    def __init__(self, view: View, circumstances: ContextBuilder, clock: Callable[[], float],
                 in_flight: Callable[[], tuple[InFlight, ...]],
                 assumed_down: frozenset[str] = frozenset()) -> None:
        self._view = view
        self._circumstances = circumstances
        self._clock = clock
        self._in_flight = in_flight
        self._assumed_down = assumed_down
        self.resting: Callable[[], frozenset[str]] = frozenset
        """Tells the targets at which something failed, until they are tried again."""
        self._desired: Desired | None = None
        self._plan: Plan | None = None
        self._version = -1

    @property
    def is_current(self) -> bool:
        """Return whether the last plan is the plan for what is known now."""
        return self._plan is not None and self._version == self._view.version

    @property
    def revision(self) -> str:
        """Return the revision of the specs in force."""
        return self._desired.revision if self._desired else ""

    @property
    def desired(self) -> Desired | None:
        """Return the specs in force."""
        return self._desired

    def declare(self, desired: Desired) -> None:
        """Put specs in force."""
        stormy = () if self._desired is None else self._stormy(self._desired)
        self._desired = desired
        self._view.rename(nodes_of(renames(desired)))
        self._view.declare((*desired.hosts, *desired.switches), stormy)
        self._circumstances.declare(desired)
        self._plan = None

    def _stormy(self, desired: Desired) -> tuple[str, ...]:
        """Return the silent hosts of sites where too many hosts are silent."""
        found: list[str] = []
        for site in desired.sites:
            hosts = [name for name, host in desired.hosts.items()
                     if host.spec.site == site and name in self._view.nodes]
            silent = [name for name in hosts if not isinstance(self._view.fact(name), Known)]
            if is_storm(len(silent), len(hosts), desired.estate.spec.limits.storm_share):
                found += silent
        return tuple(found)

    def stir(self) -> None:
        """Say that something besides the facts has changed."""
        self._plan = None

    def decide(self) -> Plan:
        """Return the plan for what is known now.

        Shapes: the very same value as before when nothing has changed.
        """
        assert self._desired is not None, "nothing is declared yet"
        if self._circumstances.pause_has_ended():
            self._distrust()
        if self._plan is None or not self.is_current:
            version = self._view.version
            policy = self._circumstances.policy(self._in_flight(), self._assumed_down,
                                                self.resting())
            with gc_paused():
                self._plan = compute(self._desired, self._view.observed, policy, self._clock())
            self._version = version
        return self._plan

    def _distrust(self) -> None:
        """Let nothing be done by what was seen while a person worked there: it is looked at anew.
        """
        for node in self._view.nodes:
            self._view.mark_stale(node)
        self._plan = None

    def margin_s(self, target: str) -> float:
        """Return how late the copies of a VM may be before that is told."""
        desired, (_, _, name) = self._desired, target.partition("/")
        vm = None if desired is None else desired.virtual_machines.get(name)
        if desired is None or vm is None or vm.spec.protection is None:
            return 0.0
        return margin_s(desired.protection_policies[vm.spec.protection].spec.rpo_s)

    def print_of(self, target: str) -> str:
        """Return the fingerprint of a declared object's spec."""
        return self._circumstances.print_of(target)

    def nodes_of(self, action: Action) -> tuple[str, ...]:
        """Return every node that has to be looked at just before `action`."""
        if self._desired is not None and isinstance(action, EVERYWHERE):
            return tuple(sorted({*action.nodes, *self._desired.hosts}))
        return tuple(node for node in action.nodes if node in self._view.nodes)

    def elsewhere(self, action: Action) -> tuple[str, ...]:
        """Return all other hosts that answer: somebody may have started the VM there meanwhile."""
        if self._desired is None:
            return ()
        return tuple(host for host in sorted(self._desired.hosts.keys() - set(action.nodes))
                     if self._view.answers(host))

    def versions_of(self, action: Action) -> tuple[int, ...]:
        """Return numbers that grow when the nodes of `action` change."""
        return tuple(self._view.version_of(node) for node in action.nodes)


def ready_steps(plan: Plan) -> tuple[Step, ...]:
    """Return the steps that may begin now: allowed, and nothing before them is left to do."""
    waiting = {step.action.id for step in plan.steps}
    return tuple(step for step in plan.runnable if waiting.isdisjoint(step.after))


def waits_for_facts(plan: Plan) -> bool:
    """Return whether a plan holds something back that any look may clear."""
    return any(step.ruling.rule in {"fact-age", "storm"} for step in plan.steps)


def is_converged(plan: Plan) -> bool:
    """Return whether nothing is left to do and nothing is unknown."""
    return (all(stays(step) for step in plan.steps)
            and not any(remark.unknown for remark in plan.remarks))


def known_nodes(view: View, nodes: tuple[str, ...]) -> bool:
    """Return whether all of `nodes` answered when they were last asked."""
    return all(node in view.nodes and view.looked_at(node) and isinstance(view.fact(node), Known)
               for node in nodes)
