"""The desk: what the store holds of an estate, as rows for a screen, kept up to date.

    store ── numbers of changes ──► desk ── rows that differ, each with a version ──► readers

One reader of the store serves every page. It asks for what changed since the last number, reads
those objects again, makes their rows anew, and gives a row that differs the next version. A page
knows the last version that it has seen, and is given the rows above it: so a page that slept, or
that reads slowly, costs nothing and misses nothing. A row that is gone leaves None.

A row holds instants, never ages: ages are counted where they are shown, so that time alone changes
no row. The heartbeat is no row: whether the loop lives is asked of it each time.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from controller.model.condition import Condition
from controller.model.facts import NodeFacts
from controller.reconcile.inspect.machines import Machines
from controller.reconcile.inspect.rows import Declared, row_of
from controller.reconcile.observe.last_seen import parse_facts
from controller.store.for_readers.changes import Change
from controller.store.for_readers.declared import DeclaredDocument
from controller.store.store import Store

Row = dict[str, Any]
SHOWN: Final = ("Site", "Host", "Switch", "Witness", "InterSiteLink", "Network", "VirtualMachine")
"""The kinds that have rows."""


class Desk:
    """Rows of every declared object, by `Kind/name`, each with the version that it changed at."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self._number = 0
        self._conditions: dict[str, tuple[Condition, ...]] = {}
        self._documents: dict[str, DeclaredDocument] = {}
        self._facts: dict[str, NodeFacts] = {}
        self._machines = Machines()
        self._called: dict[str, str] = {}
        """VMs whose domains have other names, by those."""
        self.beat: dict[str, Any] = {}
        """The last heartbeat of the loop; empty before its first."""
        self.version = 0
        self.rows: dict[str, tuple[int, Row | None]] = {}

    def refresh(self) -> bool:
        """Read what changed, and return whether any row or the heartbeat did.

        Errors: JournalUnavailable; all stays as it was.
        """
        newest, changes = self._store.changes_since(self._number)
        if newest < self._number:       # another file has taken its place
            self._number = 0
            newest, changes = self._store.changes_since(0)
        if not changes:
            return False
        affected = self._read(changes)
        self._number = newest
        self._renew(affected)
        return True

    def _read(self, changes: Iterable[Change]) -> set[str]:
        """Read the changed objects again, and return whose rows depend on them."""
        names: defaultdict[str, set[str]] = defaultdict(set)
        for change in changes:
            names[change.kind].add(change.name)
        affected = names["condition"] | names["suspension"]
        if names["status"]:
            affected |= self._read_status()
        if names["declared"]:
            affected |= self._read_declared(names["declared"])
        for target in names["condition"]:
            self._conditions.pop(target, None)
        found: defaultdict[str, list[Condition]] = defaultdict(list)
        for condition in self._store.conditions(tuple(names["condition"])):
            found[condition.target].append(condition)
        self._conditions.update({target: tuple(some) for target, some in found.items()})
        return affected | self._read_seen(names["seen"])

    def _read_status(self) -> set[str]:
        before, self.beat = self.beat.get("nodes") or {}, self._store.status() or {}
        nodes = self.beat.get("nodes") or {}
        return {f"{kind}/{node}" for node in before.keys() | nodes.keys()
                for kind in ("Host", "Switch", "Witness")
                if (before.get(node) or {}).get("state") != (nodes.get(node) or {}).get("state")}

    def _read_declared(self, targets: set[str]) -> set[str]:
        documents = self._store.declared(tuple(targets))
        for target in targets:
            self._documents.pop(target, None)
        self._documents.update(documents)
        if any(target.startswith("VirtualMachine/") for target in targets):
            self._called = called(self._documents)
        if any(target.startswith(("ProtectionPolicy/", "Host/")) for target in targets):
            return set(self._documents) | targets
        return targets

    def _read_seen(self, nodes: set[str]) -> set[str]:
        affected: set[str] = set()
        seen = self._store.seen(tuple(nodes)) if nodes else {}
        for node in nodes:
            affected |= {f"Host/{node}", f"Switch/{node}", f"Witness/{node}"}
            self._facts.pop(node, None)
            with suppress(KeyError, ValueError):    # of another version: the loop writes it again
                self._facts[node] = parse_facts(seen[node].facts)
            names = (self._machines.learn(node, self._facts[node]) if node in self._facts
                     else self._machines.forget(node))
            affected |= {self._called.get(name, f"VirtualMachine/{name}") for name in names}
        return affected

    def _renew(self, targets: set[str]) -> None:
        """Make the rows of these objects anew; those that differ get the next version."""
        declared = Declared(self._documents)
        nodes = self.beat.get("nodes") or {}
        next_version = self.version + 1
        for target in sorted(targets):
            kind, _, name = target.partition("/")
            document = self._documents.get(target)
            row = None
            if kind in SHOWN and document is not None:
                row = row_of(kind, name, document, self._conditions.get(target, ()), declared,
                             self._facts.get(name), nodes.get(name) or {}, self._machines)
            before = self.rows.get(target, (0, None))[1]
            if before != row:
                self.rows[target] = (next_version, row)
                self.version = next_version

    def since(self, version: int) -> dict[str, Row | None]:
        """Return the rows that changed after `version`; None for one that is gone."""
        return {target: row for target, (changed, row) in self.rows.items() if changed > version}

    def of_kind(self, kind: str) -> list[Row]:
        """Return the rows of a kind, by name."""
        return [row for target, (_, row) in sorted(self.rows.items())
                if row is not None and target.startswith(f"{kind}/")]

    def document(self, target: str) -> DeclaredDocument | None:
        """Return a document that is in force."""
        return self._documents.get(target)

    def conditions(self, target: str) -> tuple[Condition, ...]:
        """Return the conditions of an object."""
        return self._conditions.get(target, ())

    @property
    def estate(self) -> str:
        """Return the estate's name; empty before the loop has loaded any specs."""
        return next((target.partition("/")[2] for target in self._documents
                     if target.startswith("Estate/")), "")


def called(documents: Mapping[str, DeclaredDocument]) -> dict[str, str]:
    """Return the VMs whose domains have other names than they have, by those names."""
    return {str(domain): target for target, document in documents.items()
            if target.startswith("VirtualMachine/")
            and (domain := (document.content.get("spec") or {}).get("domain"))}
