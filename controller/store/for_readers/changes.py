"""What has changed since a number: each change of a table is numbered, so that a reader reads only
what is new.

Triggers number the rows in the transaction that changes them, whoever writes: the loop, a verb in
another process, a rename. A row of this table names an object, and not what is new about it: the
reader reads all rows of that object again, and where there is none any more, the object is gone.
So the table is as long as there are names, and a reader that slept for a week misses nothing.

Numbers grow as long as the file lasts. A number that is smaller than the reader's own is another
file's, made after damage: it begins again from 0.
"""

from typing import NamedTuple

from controller.store.database import Table


class Change(NamedTuple):
    """An object of which some row changed; `kind` says in which table."""

    kind: str
    """condition, declared, progress, suspension, approval, glass, work, seen or status.
    """
    name: str


class Changes(Table):
    """The last change of each object in each numbered table."""

    def changes_since(self, number: int) -> tuple[int, tuple[Change, ...]]:
        """Return the newest number, and what changed after `number`, in that order."""
        rows = self._database.read("SELECT kind, name, number FROM changes WHERE number > ?"
                                   " ORDER BY number", (number,))
        if rows:
            return rows[-1][2], tuple(Change(kind, name) for kind, name, _ in rows)
        (newest,), = self._database.read("SELECT coalesce(max(number), 0) FROM changes")
        return newest, ()
