"""Changes that nodes undid by themselves: not made again until a commit or a person says so.

Rule 1: they survive a restart: a controller that forgot would cut the same node off once more.
"""

from collections.abc import Iterable

from controller.plan.survey.context import Undone
from controller.store.database import Table


class UndoneChanges(Table):
    """One row per action; `spec` is the fingerprint of its target at that time."""

    def undone(self) -> tuple[tuple[Undone, str], ...]:
        """Return the undone changes by action, each with the fingerprint of its target's spec."""
        rows = self._database.read("SELECT action_id, target, goal, sentence, at, spec FROM undone"
                                   " ORDER BY action_id")
        return tuple((Undone(*row[:5]), row[5]) for row in rows)

    def forget_undone(self, action_ids: Iterable[str]) -> None:
        """Delete the undone changes of actions that are not in the plan any more."""
        with self._database.write(durable=False) as connection:
            connection.executemany("DELETE FROM undone WHERE action_id = ?",
                                   [(name,) for name in action_ids])

    def let_again(self, target: str) -> bool:
        """Let the undone changes of a target be tried again; return whether there were any."""
        with self._database.write(durable=True) as connection:
            cursor = connection.execute("DELETE FROM undone WHERE target = ?", (target,))
            return cursor.rowcount > 0
