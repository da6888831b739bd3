"""What a decision rests on of what was seen or begun before, kept over restarts.

Rule 1: it is written after each decision; what could not be written is written after the next.
"""

from collections.abc import Mapping
from functools import cache
from typing import Final

from controller.model.desired import Desired
from controller.model.facts import Fact, Known, NodeFacts, Observed
from controller.model.protection_policy import KeepSpec
from controller.plan.actions.network import NarrowTrunk
from controller.plan.gates.grace import RULE, grace_keys
from controller.plan.network.port_vlans import frames_of, port_vlans_of
from controller.plan.steps.plan import Plan
from controller.store.memory import Memory
from controller.store.store import Store

ASLEEP_S: Final = 180.0
"""So long without a decision, and nobody was looking."""


@cache
def parse_keep(text: str) -> KeepSpec:
    """Return a `keep` that was remembered."""
    return KeepSpec.model_validate_json(text)


def lists_its_vlans(fact: Fact[NodeFacts] | None, declared: set[str]) -> bool:
    """Return whether the declared ports of a node are seen, and say one by one what passes."""
    if not isinstance(fact, Known) or not isinstance(fact.value.bridges, Known):
        return False
    found = {port.name: port for bridge in fact.value.bridges.value.values()
             for port in bridge.ports.values()}
    return all(name in found and frames_of(port_vlans_of(found[name])).tagged is not None
               for name in declared)


class History:
    """Where VMs stood, and since when removals wait."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stood: dict[str, str] = {}
        self._left: dict[str, str] = {}
        self._grace: dict[str, str] = {}
        self._keeps: dict[str, str] = {}
        self._adopted: dict[str, str] = {}
        self._settled: frozenset[str] = frozenset()
        self._overslept: frozenset[str] = frozenset()
        self._looked_at: float | None = None

    def read(self, settled: Mapping[str, str]) -> None:
        """Read what earlier processes remembered; what was ever `settled` stood somewhere.

        Errors: JournalUnavailable; what was read before stays.
        """
        self._stood = dict(self._store.remembered(Memory.STOOD))
        self._left = dict(self._store.remembered(Memory.LEFT))
        self._grace = dict(self._store.remembered(Memory.GRACE))
        self._keeps = dict(self._store.remembered(Memory.KEPT))
        self._adopted = dict(self._store.remembered(Memory.ADOPTED))
        self._settled = frozenset(name.partition("/")[2] for name in settled
                                  if name.startswith("VirtualMachine/"))

    @property
    def stood(self) -> Mapping[str, str]:
        """Return, by VM that stood as one of ours, the host; empty where it is not known."""
        return {**dict.fromkeys(self._settled, ""), **self._stood}

    @property
    def kept(self) -> Mapping[str, KeepSpec]:
        """Return, by VM, by which `keep` its restore points were last kept."""
        return {name: parse_keep(text) for name, text in self._keeps.items()}

    @property
    def adopted(self) -> frozenset[str]:
        """Return every host and switch on whose trunks nothing undeclared passed at some time."""
        return frozenset(self._adopted)

    @property
    def waiting(self) -> Mapping[str, float]:
        """Return, by action that takes something away, since when it waits."""
        return {name: float(since) for name, since in self._grace.items()}

    def overslept(self, now_s: float, looked_at: float | None = None) -> None:
        """Let no time count in which nobody looked, asleep or stopped, or that a clock leapt over.

        Shapes: `looked_at` is when that was last done by an earlier process.
        """
        before = self._looked_at if looked_at is None else looked_at
        self._looked_at = now_s
        gap_s = 0.0 if before is None else now_s - before
        if gap_s > ASLEEP_S:
            self._overslept = frozenset(self._grace)
            self._grace = {key: f"{float(since) + gap_s:.3f}" for key, since in self._grace.items()}

    def take_in(self, plan: Plan, desired: Desired, observed: Observed, now_s: float) -> bool:
        """Remember what a decision saw; return whether removals wait by another instant now.

        Errors: JournalUnavailable.
        """
        self._note(Memory.STOOD, self._stood, self._sighted(desired, observed))
        self._note_leaving(desired, now_s)
        self._note(Memory.KEPT, self._keeps, {
            name: text for name, keep in plan.kept.items()
            if self._keeps.get(name) != (text := keep.model_dump_json())})
        self._note(Memory.ADOPTED, self._adopted, self._as_declared(plan, desired, observed))
        held = {key for step in plan.steps if step.ruling.rule == RULE
                for key in grace_keys(step.action)}
        wanted = {key for step in plan.steps if step.action.takes
                  for key in grace_keys(step.action)}
        changes: dict[str, str | None] = dict.fromkeys(held - self._grace.keys(), f"{now_s:.3f}")
        changes |= {key: self._grace[key] for key in self._overslept & wanted}
        changes |= dict.fromkeys(self._grace.keys() - wanted)
        self._overslept = frozenset()
        self._note(Memory.GRACE, self._grace, changes)
        return bool(changes)

    def _as_declared(self, plan: Plan, desired: Desired,
                     observed: Observed) -> dict[str, str | None]:
        """Return the hosts and switches on whose trunks nothing is to be taken, as far as seen."""
        ports = {f"Host/{name}": set(host.spec.uplinks) for name, host in desired.hosts.items()}
        ports |= {f"Switch/{name}": {port.name for port in switch.spec.ports}
                  for name, switch in desired.switches.items()}
        taking = {step.action.target for step in plan.steps if isinstance(step.action, NarrowTrunk)}
        return {target: "yes" for target, declared in ports.items()
                if target not in taking and target not in self._adopted
                and lists_its_vlans(observed.nodes.get(target.partition("/")[2]), declared)}

    def _sighted(self, desired: Desired, observed: Observed) -> dict[str, str | None]:
        declared, estate = desired.virtual_machines, desired.estate.name
        found: dict[str, str | None] = {}
        for host in desired.hosts:
            fact = observed.nodes.get(host)
            if not isinstance(fact, Known) or not isinstance(fact.value.domains, Known):
                continue
            for name, domain in fact.value.domains.value.items():
                mark = domain.ownership
                machine = name if mark is None else mark.name or name
                if (mark is not None and self._stood.get(machine) != host
                        and mark.estate == estate and machine in declared
                        and (domain.state.active or machine not in self._stood)):
                    found[machine] = host
        return found

    def _note_leaving(self, desired: Desired, now_s: float) -> None:
        """Forget where a VM stood only long after it left the specs: a file may be missing once."""
        gone = self._stood.keys() - desired.virtual_machines.keys()
        limit_s = desired.estate.spec.limits.purge_after_s
        old = {name for name in gone if now_s - float(self._left.get(name, now_s)) > limit_s}
        changes: dict[str, str | None] = dict.fromkeys(gone - self._left.keys(), f"{now_s:.3f}")
        changes |= dict.fromkeys((self._left.keys() - gone) | old)
        self._note(Memory.LEFT, self._left, changes)
        self._note(Memory.STOOD, self._stood, dict.fromkeys(old))

    def _note(self, memory: Memory, known: dict[str, str],
              changes: Mapping[str, str | None]) -> None:
        self._store.remember(memory, changes)
        for name, value in changes.items():
            if value is None:
                known.pop(name, None)
            else:
                known[name] = value
