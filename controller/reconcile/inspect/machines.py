"""Where each VM was last seen, and its newest restore point, by what hosts told."""

from typing import NamedTuple

from controller.model.facts import DomainFacts, NodeFacts, runs
from controller.reconcile.inspect.inventory import value_of


class Copy(NamedTuple):
    """One domain on one host."""

    node: str
    domain: DomainFacts


class Machines:
    """Domains and replicas of every host, by the names that hosts call them."""

    def __init__(self) -> None:
        self._copies: dict[str, dict[str, DomainFacts]] = {}
        self._points: dict[str, dict[str, float]] = {}

    def learn(self, node: str, facts: NodeFacts) -> set[str]:
        """Take in the facts of a host, and return whose rows depend on them."""
        self._copies[node] = {
            domain.ownership.name if domain.ownership else name: domain
            for name, domain in (value_of(facts.domains) or {}).items()}
        self._points[node] = {
            one.machine: one.newest.started_at
            for one in (value_of(facts.replicas) or {}).values()
            if one.newest is not None and one.machine}
        return self._of(node)

    def forget(self, node: str) -> set[str]:
        """Drop what a host told, and return whose rows depended on it."""
        affected = self._of(node)
        self._copies.pop(node, None)
        self._points.pop(node, None)
        return affected

    def _of(self, node: str) -> set[str]:
        names = self._copies.get(node, {}).keys() | self._points.get(node, {}).keys()
        return {f"VirtualMachine/{name}" for name in names}

    def copy_of(self, *names: str) -> Copy | None:
        """Return where a VM of one of these names runs, else where it is defined; None: nowhere."""
        found = [Copy(node, domains[name]) for node, domains in sorted(self._copies.items())
                 for name in names if name in domains]
        return next((one for one in found if runs(one.domain)), found[0] if found else None)

    def point_at(self, machine: str) -> float | None:
        """Return when the newest restore point of a VM began, wherever it lies."""
        return max((points[machine] for points in self._points.values() if machine in points),
                   default=None)

    def running_on(self, node: str) -> int:
        """Return how many VMs run on a host."""
        return sum(runs(domain) for domain in self._copies.get(node, {}).values())
