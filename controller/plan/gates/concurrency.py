"""In flight: how many things may be going on at once, per host, per site and in the estate.

Rule 1: copies have places of their own: none of them ever makes a repair wait for a place.
Rule 2: a VM is not moved while its replica is being copied, and the other way round.
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
"""A site of more hosts than COPIES_PER_SITE has a place for each, up to so many."""
NOTHING: Final[frozenset[str]] = frozenset()
LONG: Final = "whole copy"
SHORT: Final = "copy"
UPKEEP: Final = "upkeep"
SAID: Final = {LONG: "copies of whole disks going on", SHORT: "copies going on",
               UPKEEP: "replicas being looked after"}


class ConcurrencyLimits:
    """The places that are taken; all actions on one target share one, as they run in turn."""

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self.limits = survey.desired.estate.spec.limits
        self.at: dict[tuple[str, str], set[str]] = {}
        """By kind and place: what goes on there; of no kind are those that are no copies."""
        self.disrupted: set[str] = set()
        self.busy: dict[str, str] = {}
        self.most = max(1, int(self.limits.share * len(survey.desired.virtual_machines)))
        self.copying: set[str] = set()
        """`Replica/name` of what is copied, as far as that is settled."""
        for flight in survey.context.in_flight:
            self.busy[flight.target] = flight.action_id
            self._note(flight.target, flight.nodes, flight.rung)
            if is_replica(flight.target):
                copies = flight.action_id.startswith(f"{ReplicateDomain.verb}:")
                self._count(SHORT if copies else UPKEEP, flight.target, flight.nodes)
                self.copying |= {flight.target} if copies else set()

    def take(self, action: Action) -> Ruling | None:
        """Take a place for `action`; return why it has to wait when there is none."""
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
        """Learn which of the copies that are going on take whole disks."""
        for action in actions:
            if action.target in self.copying and is_long(action):
                self._count(LONG, action.target, action.nodes)

    def _take_copy(self, action: Action) -> Ruling | None:
        """Take a place among the copies; what rests after a failure holds none while it does."""
        machine = f"VirtualMachine/{action.target.partition('/')[2]}"
        if machine in self.busy and machine in self.disrupted:
            return _wait(f"{self.busy[machine]} is running", "when that ends")
        if action.target in self.survey.context.backing_off:
            return None
        places = [(kind, place, limit) for kind in _kinds(action)
                  for place, limit in self._places(kind, action.nodes)]
        for kind, place, limit in places:
            taken = self.at.get((kind, place), NOTHING)
            if action.target not in taken and len(taken) >= limit:
                return _wait(f"{SAID[kind]} at {place}: {len(taken)}, and {limit} is the"
                             " limit", "when one of them ends")
        for kind, place, _ in places:
            self.at.setdefault((kind, place), set()).add(action.target)
        if isinstance(action, ReplicateDomain):
            self.copying.add(action.target)
        return None

    def _places(self, kind: str, nodes: tuple[str, ...]) -> list[tuple[str, int]]:
        """Return the places that something of `kind` takes, and how many each has."""
        share = 1 if kind is SHORT else 2
        found = []
        for node in nodes:
            site = self.survey.site_of(node)
            found += [(f"host {node}", COPIES_PER_HOST // share),
                      (f"site {site}", self._most_at(site) // share)]
        return found

    def _most_at(self, site: str) -> int:
        hosts = len(self.survey.hosts_of_site.get(site, ()))
        return min(max(COPIES_PER_SITE, hosts), COPIES_PER_SITE_MOST)

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


def _kinds(action: Action) -> tuple[str, ...]:
    if not isinstance(action, ReplicateDomain):
        return (UPKEEP,)
    return (SHORT, LONG) if is_long(action) else (SHORT,)


def _wait(sentence: str, clears: str) -> Ruling:
    return Ruling(Verdict.WAITING, "in-flight", sentence, clears)
