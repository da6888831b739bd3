"""What was seen once and must not be forgotten: where VMs stood, since when a removal waits.

Rule 1: a memory only ever holds something back; without it a person is asked, or more time passes.
"""

from collections.abc import Mapping
from enum import StrEnum

from controller.store.database import Shelf


class Memory(StrEnum):
    """What is remembered, each by a name of its own."""

    STOOD = "stood"
    """By VM: the host on which it was last seen as one of ours."""
    LEFT = "left"
    """By VM that stood: when it was first seen to be declared no longer."""
    POOL = "pool"
    """By node, pool and folder: the file system that it lies on."""
    KEPT = "kept"
    """By VM: by which `keep` its restore points were last kept, as JSON."""
    ADOPTED = "adopted"
    """By host or switch: that nothing undeclared passed on its trunks at some time, so it is ours.
    """
    GRACE = "grace"
    """By action: since when it has been waiting."""


class Memories(Shelf):
    """One row for each thing that is remembered."""

    def remembered(self, memory: Memory) -> Mapping[str, str]:
        """Return all of one kind, by name."""
        return dict(self._database.read("SELECT name, value FROM memories WHERE kind = ?"
                                        " ORDER BY name", (memory.value,)))

    def remember(self, memory: Memory, changes: Mapping[str, str | None]) -> None:
        """Take in what is new of one kind; None forgets. Nothing new costs nothing."""
        if not changes:
            return
        kept = [(memory.value, name, value) for name, value in sorted(changes.items())
                if value is not None]
        gone = [(memory.value, name) for name, value in sorted(changes.items()) if value is None]
        with self._database.write(durable=True) as connection:
            connection.executemany("INSERT OR REPLACE INTO memories VALUES (?, ?, ?)", kept)
            connection.executemany("DELETE FROM memories WHERE kind = ? AND name = ?", gone)
