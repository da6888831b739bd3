"""The history that decisions rest on: where VMs were, since when removals wait.

Rule 1: it survives a restart: it is written after each decision, or else after the next one.
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
"""After so long without a decision, the time since the last one counts in no wait."""


@cache
def parse_keep(text: str) -> KeepSpec:
    """Return a `keep` from its JSON."""
    return KeepSpec.model_validate_json(text)


def lists_its_vlans(fact: Fact[NodeFacts] | None, declared: set[str]) -> bool:
    """Return whether all declared ports of a node are seen, and list the VLANs that pass."""
    if not isinstance(fact, Known) or not isinstance(fact.value.bridges, Known):
        return False
    found = {port.name: port for bridge in fact.value.bridges.value.values()
             for port in bridge.ports.values()}
    return all(name in found and frames_of(port_vlans_of(found[name])).tagged is not None
               for name in declared)


class History:
    """Where VMs were seen, how they were kept, and since when removals wait."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last_host: dict[str, str] = {}
        self._left: dict[str, str] = {}
        self._grace: dict[str, str] = {}
        self._keeps: dict[str, str] = {}
        self._adopted: dict[str, str] = {}
        self._once_applied: frozenset[str] = frozenset()
        self._extended: frozenset[str] = frozenset()
        self._looked_at: float | None = None

    def read(self, applied: Mapping[str, str]) -> None:
        """Read what earlier processes saved; a VM among the `applied` specs existed somewhere.

        Errors: JournalUnavailable; the last values stay.
        """
        self._last_host = dict(self._store.remembered(Memory.LAST_HOST))
        self._left = dict(self._store.remembered(Memory.LEFT))
        self._grace = dict(self._store.remembered(Memory.GRACE))
        self._keeps = dict(self._store.remembered(Memory.KEPT))
        self._adopted = dict(self._store.remembered(Memory.ADOPTED))
        self._once_applied = frozenset(name.partition("/")[2] for name in applied
                                  if name.startswith("VirtualMachine/"))

    @property
    def last_host(self) -> Mapping[str, str]:
        """Return, by VM that existed as one of ours, its last host; empty where not known."""
        return {**dict.fromkeys(self._once_applied, ""), **self._last_host}

    @property
    def kept(self) -> Mapping[str, KeepSpec]:
        """Return, by VM, the `keep` that its restore points were last kept by."""
        return {name: parse_keep(text) for name, text in self._keeps.items()}

    @property
    def adopted(self) -> frozenset[str]:
        """Return every host and switch whose trunks once carried nothing undeclared."""
        return frozenset(self._adopted)

    @property
    def waiting(self) -> Mapping[str, float]:
        """Return, by action that takes something away, since when it waits."""
        return {name: float(since) for name, since in self._grace.items()}

    def note_look(self, now_s: float, looked_at: float | None = None) -> None:
        """Extend every wait by time in which nobody looked: asleep, stopped, or skipped by a clock.

        A wait that began later than now, since the clock was set back, begins anew, once.
        Shapes: `looked_at` is the last look of an earlier process.
        """
        before = self._looked_at if looked_at is None else looked_at
        self._looked_at = now_s
        gap_s = 0.0 if before is None else now_s - before
        if gap_s > ASLEEP_S:
            self._extended = frozenset(self._grace)
            self._grace = {key: f"{float(since) + gap_s:.3f}" for key, since in self._grace.items()}
        ahead = {key for key, since in self._grace.items() if float(since) > now_s}
        self._grace |= dict.fromkeys(ahead, f"{now_s:.3f}")
        self._extended |= ahead

    def record(self, plan: Plan, desired: Desired, observed: Observed, now_s: float) -> bool:
        """Save what a decision saw; return whether any removal now waits since another instant.

        Errors: JournalUnavailable.
        """
        self._note(Memory.LAST_HOST, self._last_host, self._hosts_seen(desired, observed))
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
        changes |= {key: self._grace[key] for key in self._extended & wanted}
        changes |= dict.fromkeys(self._grace.keys() - wanted)
        self._extended = frozenset()
        self._note(Memory.GRACE, self._grace, changes)
        return bool(changes)

    def _as_declared(self, plan: Plan, desired: Desired,
                     observed: Observed) -> dict[str, str | None]:
        """Return the hosts and switches whose trunks were all seen and carry nothing undeclared."""
        ports = {f"Host/{name}": set(host.spec.uplinks) for name, host in desired.hosts.items()}
        ports |= {f"Switch/{name}": {port.name for port in switch.spec.ports}
                  for name, switch in desired.switches.items()}
        taking = {step.action.target for step in plan.steps if isinstance(step.action, NarrowTrunk)}
        return {target: "yes" for target, declared in ports.items()
                if target not in taking and target not in self._adopted
                and lists_its_vlans(observed.nodes.get(target.partition("/")[2]), declared)}

    def _hosts_seen(self, desired: Desired, observed: Observed) -> dict[str, str | None]:
        declared, estate = desired.virtual_machines, desired.estate.name
        found: dict[str, str | None] = {}
        for host in desired.hosts:
            fact = observed.nodes.get(host)
            if not isinstance(fact, Known) or not isinstance(fact.value.domains, Known):
                continue
            for name, domain in fact.value.domains.value.items():
                mark = domain.ownership
                machine = name if mark is None else mark.name or name
                if (mark is not None and self._last_host.get(machine) != host
                        and mark.estate == estate and machine in declared
                        and (domain.state.active or machine not in self._last_host)):
                    found[machine] = host
        return found

    def _note_leaving(self, desired: Desired, now_s: float) -> None:
        """Forget a VM's host only long after it left the specs: a file may be missing once."""
        gone = self._last_host.keys() - desired.virtual_machines.keys()
        limit_s = desired.estate.spec.limits.purge_after_s
        old = {name for name in gone if now_s - float(self._left.get(name, now_s)) > limit_s}
        changes: dict[str, str | None] = dict.fromkeys(gone - self._left.keys(), f"{now_s:.3f}")
        changes |= dict.fromkeys((self._left.keys() - gone) | old)
        self._note(Memory.LEFT, self._left, changes)
        self._note(Memory.LAST_HOST, self._last_host, dict.fromkeys(old))

    def _note(self, memory: Memory, known: dict[str, str],
              changes: Mapping[str, str | None]) -> None:
        self._store.remember(memory, changes)
        for name, value in changes.items():
            if value is None:
                known.pop(name, None)
            else:
                known[name] = value
