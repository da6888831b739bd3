"""Concurrency limits: how many actions may be in flight at once, per host, per site, in the estate.

Rule 1: copies have slots of their own, so that no copy ever makes a repair wait. At most half of
        them go to copies of whole disks, which take hours. Upkeep has half as many of its own.
Rule 2: a VM is not moved while its replica is being copied, nor copied while it is being moved.
"""

from typing import Final

from controller.model.document import Rung
from controller.plan.actions.action import Action
from controller.plan.actions.machine import MigrateDomain
from controller.plan.actions.replica import (
    CopyMode,
    ReplicateDomain,
    SweepLeftovers,
    is_replica,
    replica_of,
)
from controller.plan.steps.draft import counted
from controller.plan.steps.plan import Ruling, Verdict
from controller.plan.survey.survey import Survey

DISRUPTIVE = frozenset({Rung.MIGRATE, Rung.RESTART, Rung.FAILOVER})
COPIES_PER_HOST: Final = 2
COPIES_PER_SITE: Final = 8
COPIES_PER_SITE_MOST: Final = 32
"""A site with more hosts than COPIES_PER_SITE has one slot per host, up to this many."""
NOTHING: Final[frozenset[str]] = frozenset()
LONG: Final = "whole copy"
SHORT: Final = "copy"
UPKEEP: Final = "upkeep"
NOUNS: Final = {LONG: "copies of whole disks going on", SHORT: "copies going on",
               UPKEEP: "replicas being looked after"}


class ConcurrencyLimits:
    """The slots that are taken. All actions on one target share one, since they run in turn."""

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self.limits = survey.desired.estate.spec.limits
        self.at: dict[tuple[str, str], set[str]] = {}
        """Targets in flight, by kind and host or site; the kind is empty where it is no copy."""
        self.disrupted: set[str] = set()
        self.busy: dict[str, str] = {}
        self.most = max(1, int(self.limits.share * len(survey.desired.virtual_machines)))
        self.copying: set[str] = set()
        """`Replica/name` of the copies in flight, and of those given a slot so far."""
        for flight in survey.context.in_flight:
            self.busy[flight.target] = flight.action_id
            self._note(flight.target, flight.nodes, flight.rung)
            if is_replica(flight.target):
                copies = flight.action_id.startswith(f"{ReplicateDomain.verb}:")
                self._count(SHORT if copies else UPKEEP, flight.target, flight.nodes)
                self.copying |= {flight.target} if copies else set()

    def take(self, action: Action) -> Ruling | None:
        """Reserve a slot for an action; if none is free, return why it has to wait."""
        if action.target in self.busy:
            return _wait(f"{self.busy[action.target]} is running", "when that ends")
        if action.rung is Rung.REPLICATE:
            return None if isinstance(action, SweepLeftovers) else self._take_copy(action)
        if isinstance(action, MigrateDomain) and replica_of(action.target) in self.copying:
            return _wait(f"the replica of {action.domain} is being copied", "when that ends")
        for node in action.nodes:
            for place, limit in ((f"host {node}", self.limits.per_host),
                                 (f"site {self.survey.site_of(node)}", self.limits.per_site)):
                taken = self.at.get(("", place), NOTHING)
                if action.target not in taken and len(taken) >= limit:
                    return _wait(f"{counted(len(taken), 'thing')} going on at {place}, and"
                                 f" {limit} is the limit", "when one of them ends")
        if (action.rung in DISRUPTIVE and action.target not in self.disrupted
                and len(self.disrupted) >= self.most):
            return _wait(
                f"{counted(len(self.disrupted), 'VM')} moving or restarting, and {self.most} of"
                f" {len(self.survey.desired.virtual_machines)} is the limit"
                f" ({self.limits.share:.0%})", "when one of them ends")
        self._note(action.target, action.nodes, action.rung)
        return None

    def expect(self, actions: list[Action]) -> None:
        """Note which copies in flight are of whole disks, by the same steps in this plan."""
        for action in actions:
            if action.target in self.copying and is_long(action):
                self._count(LONG, action.target, action.nodes)

    def _take_copy(self, action: Action) -> Ruling | None:
        """Reserve a copy slot; a replica in back-off after a failure occupies none."""
        machine = f"VirtualMachine/{action.target.partition('/')[2]}"
        if machine in self.busy and machine in self.disrupted:
            return _wait(f"{self.busy[machine]} is running", "when that ends")
        if action.target in self.survey.context.backing_off:
            return None
        kinds = (UPKEEP,) if not isinstance(action, ReplicateDomain) else (
            (SHORT, LONG) if is_long(action) else (SHORT,))
        places = [(kind, place, limit) for kind in kinds
                  for place, limit in self._places(kind, action.nodes)]
        for kind, place, limit in places:
            taken = self.at.get((kind, place), NOTHING)
            if action.target not in taken and len(taken) >= limit:
                return _wait(f"{NOUNS[kind]} at {place}: {len(taken)}, and {limit} is the"
                             " limit", "when one of them ends")
        for kind, place, _ in places:
            self.at.setdefault((kind, place), set()).add(action.target)
        if isinstance(action, ReplicateDomain):
            self.copying.add(action.target)
        return None

    def _places(self, kind: str, nodes: tuple[str, ...]) -> list[tuple[str, int]]:
        """Return each host and site where a slot of `kind` is needed, with how many it has."""
        share = 1 if kind is SHORT else 2
        found = []
        for node in nodes:
            site = self.survey.site_of(node)
            hosts = len(self.survey.hosts_of_site.get(site, ()))
            found += [(f"host {node}", COPIES_PER_HOST // share),
                      (f"site {site}",
                       min(max(COPIES_PER_SITE, hosts), COPIES_PER_SITE_MOST) // share)]
        return found

    def _count(self, kind: str, target: str, nodes: tuple[str, ...]) -> None:
        for node in nodes:
            self.at.setdefault((kind, f"host {node}"), set()).add(target)
            if node in self.survey.desired.hosts:
                site = f"site {self.survey.site_of(node)}"
                self.at.setdefault((kind, site), set()).add(target)

    def _note(self, target: str, nodes: tuple[str, ...], rung: Rung) -> None:
        if rung is Rung.REPLICATE:
            return
        for node in nodes:
            self.at.setdefault(("", f"host {node}"), set()).add(target)
            if node in self.survey.desired.hosts or node in self.survey.desired.switches:
                site = f"site {self.survey.site_of(node)}"
                self.at.setdefault(("", site), set()).add(target)
        if rung in DISRUPTIVE:
            self.disrupted.add(target)


def is_long(action: Action) -> bool:
    """Return whether an action copies whole disks, which may take hours."""
    return isinstance(action, ReplicateDomain) and any(
        disk.mode is not CopyMode.INCREMENT for disk in action.disks)


def _wait(sentence: str, clears: str) -> Ruling:
    return Ruling(Verdict.WAITING, "in-flight", sentence, clears)
