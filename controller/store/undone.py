"""What nodes undid by themselves, so that it is not done again until a commit or a person says so.

Rule 1: it outlives a restart: a controller that forgets would cut the same node off once more.
"""

from collections.abc import Iterable

from controller.plan.survey.context import Undone
from controller.store.database import Shelf


class UndoneChanges(Shelf):
    """One line for each action; `spec` is the fingerprint of its target at that time."""

    def undone(self) -> tuple[tuple[Undone, str], ...]:
        """Return what was undone, each with the fingerprint of its target's spec, by action."""
        rows = self._database.read("SELECT action_id, target, goal, sentence, at, spec FROM undone"
                                   " ORDER BY action_id")
        return tuple((Undone(*row[:5]), row[5]) for row in rows)

    def forget_undone(self, action_ids: Iterable[str]) -> None:
        """Forget actions that nobody wants any more."""
        with self._database.write(durable=False) as connection:
            connection.executemany("DELETE FROM undone WHERE action_id = ?",
                                   [(name,) for name in action_ids])

    def let_again(self, target: str) -> bool:
        """Let what was undone on a target be tried again, and return whether there was anything."""
        with self._database.write(durable=True) as connection:
            cursor = connection.execute("DELETE FROM undone WHERE target = ?", (target,))
            return cursor.rowcount > 0
