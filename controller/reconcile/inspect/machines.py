"""Where each VM was last seen, and its newest restore point, by what hosts told."""

from collections import defaultdict
from typing import NamedTuple, TypeVar

from controller.model.facts import DomainFacts, NodeFacts, runs
from controller.reconcile.inspect.inventory import value_of

T = TypeVar("T")


class Copy(NamedTuple):
    """One domain on one host."""

    node: str
    domain: DomainFacts


class Machines:
    """Domains and replicas of every host, by the names that hosts call them."""

    def __init__(self) -> None:
        self._copies: dict[str, dict[str, DomainFacts]] = {}
        self._points: dict[str, dict[str, float]] = {}
        self._copies_of: defaultdict[str, dict[str, DomainFacts]] = defaultdict(dict)
        """The same by name, then by host; so is the next."""
        self._points_of: defaultdict[str, dict[str, float]] = defaultdict(dict)

    def learn(self, node: str, facts: NodeFacts) -> set[str]:
        """Take in the facts of a host, and return the names of which they say anything new."""
        return self._replace(
            node,
            {domain.ownership.name if domain.ownership else name: domain
             for name, domain in (value_of(facts.domains) or {}).items()},
            {one.machine: one.newest.started_at
             for one in (value_of(facts.replicas) or {}).values()
             if one.newest is not None and one.machine})

    def forget(self, node: str) -> set[str]:
        """Drop what a host told, and return the names of which it told anything."""
        return self._replace(node, {}, {})

    def _replace(self, node: str, copies: dict[str, DomainFacts],
                 points: dict[str, float]) -> set[str]:
        return (swap(self._copies, self._copies_of, node, copies)
                | swap(self._points, self._points_of, node, points))

    def copy_of(self, *names: str) -> Copy | None:
        """Return where a VM of one of these names runs, else where it is defined; None: nowhere."""
        found = sorted((node, name) for name in names for node in self._copies_of.get(name, ()))
        copies = [Copy(node, self._copies_of[name][node]) for node, name in found]
        return next((one for one in copies if runs(one.domain)), copies[0] if copies else None)

    def point_at(self, machine: str) -> float | None:
        """Return when the newest restore point of a VM began, wherever it lies."""
        return max(self._points_of.get(machine, {}).values(), default=None)

    def running_on(self, node: str) -> int:
        """Return how many VMs run on a host."""
        return sum(runs(domain) for domain in self._copies.get(node, {}).values())


def swap(by_node: dict[str, dict[str, T]], by_name: dict[str, dict[str, T]], node: str,
         now: dict[str, T]) -> set[str]:
    """Put what a host tells in place of what it told, and return the names that differ."""
    before = by_node.get(node, {})
    changed = {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
    for name in before.keys() - now.keys():
        del by_name[name][node]
    for name in changed & now.keys():
        by_name[name][node] = now[name]
    by_node[node] = now
    return changed
