"""Memories of decisions: on which host each VM was last, since when a removal waits.

Rule 1: a memory holds something back, or is told; it never allows anything. Without it somebody is
        asked, waits anew, or is told less.
"""

from collections.abc import Mapping
from enum import StrEnum

from controller.store.database import Table


class Memory(StrEnum):
    """The kinds of memories, each by the name of what it is about."""

    LAST_HOST = "stood"
    """By VM: the host on which it last ran or was defined as ours."""
    LEFT = "left"
    """By VM that has left the specs: when that was first seen."""
    POOL = "pool"
    """By node, pool and folder: the identity of the file system below it."""
    KEPT = "kept"
    """By VM: the `keep` that its restore points were last kept by, as JSON."""
    ADOPTED = "adopted"
    """By host or switch: that its trunks once carried nothing undeclared."""
    BOOT = "boot"
    """By VM: how long its last start by a failover took, as JSON."""
    GRACE = "grace"
    """By action that takes something away: since when it waits."""


class Memories(Table):
    """One row per memory."""

    def remembered(self, memory: Memory) -> Mapping[str, str]:
        """Return the memories of one kind, by name."""
        return dict(self._database.read("SELECT name, value FROM memories WHERE kind = ?"
                                        " ORDER BY name", (memory.value,)))

    def remember(self, memory: Memory, changes: Mapping[str, str | None]) -> None:
        """Save changes of one kind; None forgets. No changes cost nothing."""
        if not changes:
            return
        kept = [(memory.value, name, value) for name, value in sorted(changes.items())
                if value is not None]
        gone = [(memory.value, name) for name, value in sorted(changes.items()) if value is None]
        with self._database.write(durable=True) as connection:
            connection.executemany("INSERT OR REPLACE INTO memories VALUES (?, ?, ?)", kept)
            connection.executemany("DELETE FROM memories WHERE kind = ? AND name = ?", gone)
