"""The last facts of each node, so that a restart does not forget where a VM was running.

Rule 1: changed facts are on the disk before `save_seen` returns: a start elsewhere depends on it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from controller.store.database import Database, Table


class Seen(NamedTuple):
    """A node's facts as text, and when they were last true."""

    facts: str
    at: float


class LastSeen(Table):
    """One row per node that ever answered."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._digests: dict[str, int] = {}

    def save_seen(self, node: str, facts: str, at: float) -> None:
        """Save the facts of `node`; the same facts again do not wait for the disk."""
        same = self._digests.get(node) == hash(facts)
        with self._database.write(durable=not same) as connection:
            if same:
                cursor = connection.execute("UPDATE seen SET at = ? WHERE node = ?", (at, node))
                same = cursor.rowcount > 0
            if not same:
                connection.execute("INSERT OR REPLACE INTO seen (node, facts, at) VALUES (?, ?, ?)",
                                   (node, facts, at))
        self._digests[node] = hash(facts)

    def seen(self, nodes: tuple[str, ...] | None = None) -> Mapping[str, Seen]:
        """Return the last facts of `nodes`, or of every node, by name."""
        rows = self._rows_of("SELECT node, facts, at FROM seen", "node", nodes)
        return {node: Seen(facts, at) for node, facts, at in sorted(rows)}

    def mark_silent(self, node: str) -> None:
        """Save that `node` does not answer, until its facts are saved again."""
        self._digests.pop(node, None)
        with self._database.write(durable=False) as connection:
            connection.execute("UPDATE seen SET silent = 1 WHERE node = ?", (node,))

    def silent(self) -> frozenset[str]:
        """Return the nodes that did not answer when they were last asked."""
        return frozenset(node for node, in self._database.read(
            "SELECT node FROM seen WHERE silent"))

    def forget_seen(self, node: str) -> None:
        """Delete a node that is no longer declared."""
        self._digests.pop(node, None)
        with self._database.write(durable=True) as connection:
            connection.execute("DELETE FROM seen WHERE node = ?", (node,))
