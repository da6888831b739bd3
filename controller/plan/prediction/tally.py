"""Tallies: what is counted of the VMs that one host would be lost with, and of a whole site.

Rule 1: this is worked out for every VM at each decision. Each is looked at once, for its host; the
        tally of a site is the sum of those of its hosts.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from controller.model.protection_policy import HealthSpec
from controller.model.replica import SEEN, DrillFacts, DrillOutcome
from controller.model.virtual_machine import Power
from controller.plan.failover.situation import who_orders
from controller.plan.prediction.proof import grant_lacks
from controller.plan.prediction.schedule import Batch
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.survey.context import Boot
from controller.plan.survey.survey import Survey

ASSUMED_START_S: Final = 2.0
"""How long a host takes to start one VM, where none was measured."""
ASSUMED_BOOT_S: Final = 40.0
"""How long a watched VM takes until it is healthy, where none was measured."""


@dataclass(slots=True)
class Tally:
    """What is counted of VMs that are lost together."""

    protected: int = 0
    automatic: int = 0
    worst_at: float | None = None
    worst: str = ""
    starts: int = 0
    measured: int = 0
    oldest_at: float | None = None
    drilled: int = 0
    """Of how many of these the last drill has proven the replica."""
    oldest_drilled_at: float | None = None
    asked: int = 0
    """How many start only once a person orders it, though somebody else may begin others."""
    spared: int = 0
    """How many more do, where guards alone prove that they ended: they go on (`isolation: run`)."""
    batches: dict[tuple[int, str], Batch] = field(default_factory=lambda: defaultdict(Batch))

    def add(self, other: "Tally") -> None:
        """Add another one."""
        self.protected += other.protected
        self.automatic += other.automatic
        self.starts += other.starts
        self.measured += other.measured
        self.drilled += other.drilled
        self.asked += other.asked
        self.spared += other.spared
        if other.worst_at is not None and (self.worst_at is None or (
                other.worst_at, other.worst) < (self.worst_at, self.worst)):
            self.worst_at, self.worst = other.worst_at, other.worst
        self.oldest_at = _older(self.oldest_at, other.oldest_at)
        self.oldest_drilled_at = _older(self.oldest_drilled_at, other.oldest_drilled_at)
        for key, batch in other.batches.items():
            self.batches[key].add(batch)


class Known(NamedTuple):
    """What is the same for all VMs of a decision."""

    widths: Mapping[str, int]
    """By host that VMs come to: how many it starts at a time."""
    hindered: Collection[str]
    survey: Survey


def summed(tallies: Iterable[Tally]) -> Tally:
    """Return the sum of some tallies."""
    whole = Tally()
    for one in tallies:
        whole.add(one)
    return whole


def tally_by_host(machines: Iterable[ProtectedMachine], known: Known) -> dict[str, Tally]:
    """Return what is counted of VMs by the host that they would be lost with."""
    at: dict[str, list[ProtectedMachine]] = defaultdict(list)
    for one in machines:
        at[one.host or ""].append(one)
    return {host: tally_of(here, known) for host, here in at.items()}


def tally_of(machines: Iterable[ProtectedMachine], known: Known) -> Tally:
    """Return what is counted of VMs that are lost together."""
    tally, hindered = Tally(), known.hindered
    for one in machines:
        tally.protected += 1
        tally.automatic += one.policy.failover == "automatic"
        if one.point is not None:
            at = one.point.started_at
            if tally.worst_at is None or at < tally.worst_at or (
                    at == tally.worst_at and one.name < tally.worst):
                tally.worst_at, tally.worst = at, one.name
        if one.current is not None and one.name not in hindered and (
                one.vm.spec.power is Power.ON):
            _count_start(one, one.current.host, tally, known)
    return tally


def _count_start(one: ProtectedMachine, node: str, tally: Tally, known: Known) -> None:
    """Count a VM that comes back and starts."""
    survey, health = known.survey, one.policy.health
    drills, width = one.current.replica.drills if one.current else (), known.widths.get(node, 1)
    boot, asks = measured_boot(survey.context.boots.get(one.name), drills, width), health.asks
    start_s = ASSUMED_START_S / width if boot is None else boot.start_s
    tally.starts += 1
    if boot is not None and (boot.boot_s is not None or not asks):
        tally.measured += 1
        tally.oldest_at = _older(tally.oldest_at, boot.at)
    if drills and drills[-1].outcome is DrillOutcome.PROVEN:
        tally.drilled += 1
        tally.oldest_drilled_at = _older(tally.oldest_drilled_at, drills[-1].at)
    batch = tally.batches[one.vm.spec.start_order, node]
    if asks:
        batch.watched.append((start_s, boot_s(health, None if boot is None else boot.boot_s)))
    else:
        batch.at_once_s += start_s
    home, policy = one.host or "", one.policy
    if policy.failover != "automatic" or (survey.specs.managing.watches and who_orders(
            one, home, survey) != "automatic") or grant_lacks(one.name, (node, home), survey):
        tally.asked += 1
    elif policy.isolation == "run":
        tally.spared += 1


def measured_boot(boot: Boot | None, drills: Sequence[DrillFacts], width: int) -> Boot | None:
    """Return how long a VM's last start took, in a failover or a drill; None: nobody knows.

    A drill starts one VM after another. In a failover a host starts several at a time, so the share
    of each is so much smaller. What the newer one has not seen is known from the older.
    """
    if not drills:
        return boot
    seen = next((one for one in reversed(drills) if one.outcome in SEEN and one.boot_s is not None),
                None)
    if seen is None or seen.boot_s is None:
        return boot
    drilled = Boot(seen.boot_s / width, seen.at, seen.health_s)
    if boot is None:
        return drilled
    newer, older = (drilled, boot) if drilled.at > boot.at else (boot, drilled)
    return newer if newer.boot_s is not None else replace(newer, boot_s=older.boot_s)


def _older(at: float | None, other: float | None) -> float | None:
    """Return the earlier of two instants, where any is known."""
    return other if at is None else at if other is None else min(at, other)


def boot_s(health: HealthSpec, measured_s: float | None) -> float:
    """Return for how long a watched VM takes a place: the next one does not wait for longer."""
    likely_s = ASSUMED_BOOT_S if measured_s is None else measured_s
    return min(max(health.within_s, health.boots_s), max(health.boots_s, likely_s))
