"""Pauses that people asked for by hand; those in the specs live in the specs."""

from typing import Final

from controller.plan.policy import WHOLE_ESTATE, Suspension
from controller.store.shelf import Shelf

ESTATE: Final = "Estate/"


class Suspensions(Shelf):
    """One pause per target; a newer one takes the older one's place."""

    def suspend(self, suspension: Suspension) -> None:
        """Pause a target until its instant; durable, since somebody counts on it."""
        with self._database.write(durable=True) as connection:
            connection.execute("INSERT OR REPLACE INTO suspensions VALUES (?, ?, ?, ?)",
                               (suspension.target, suspension.by, suspension.why,
                                suspension.until_at))

    def resume(self, target: str) -> bool:
        """End a pause, and return whether there was one.

        Shapes: the estate's own name ends also the pause that was set before that was known.
        """
        also = WHOLE_ESTATE if target.startswith(ESTATE) else target
        with self._database.write(durable=True) as connection:
            cursor = connection.execute("DELETE FROM suspensions WHERE target IN (?, ?)",
                                        (target, also))
            return cursor.rowcount > 0

    def suspensions(self, now_s: float) -> tuple[Suspension, ...]:
        """Return the pauses that have not ended, by target."""
        rows = self._database.read("SELECT target, by, why, until_at FROM suspensions"
                                   " WHERE until_at > ? ORDER BY target", (now_s,))
        return tuple(Suspension(*row) for row in rows)
