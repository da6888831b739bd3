"""The conditions of the last decision, each with the instant at which its status began."""

from dataclasses import replace

from controller.model.condition import LEVELLED, Condition, ConditionType, Status
from controller.store.database import Database, Table

Key = tuple[str, ConditionType]


class Conditions(Table):
    """All conditions of the last decision; only those that changed are written."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._last: dict[Key, Condition] | None = None

    def save_conditions(self, conditions: tuple[Condition, ...],
                        at: float) -> tuple[Condition, ...]:
        """Replace all conditions by `conditions`, and return those that are news.

        Shapes: `since_at` stays where the status stayed, and is `at` otherwise; news is a new
        status, and a new level where a condition has levels.
        """
        before = self._last if self._last is not None else _by_key(self.conditions())
        after = _by_key(tuple(_dated(condition, before, at) for condition in conditions))
        altered = [condition for key, condition in after.items() if before.get(key) != condition]
        gone = sorted(before.keys() - after.keys())
        if altered or gone:
            self._last = None
            with self._database.write(durable=False) as connection:
                connection.executemany("DELETE FROM conditions WHERE target = ? AND type = ?", gone)
                connection.executemany(
                    "INSERT OR REPLACE INTO conditions VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [(c.target, c.type, c.status, c.reason, c.message, c.revision, c.since_at)
                     for c in altered])
        self._last = after
        levels = {key: condition.reason for key, condition in before.items()
                  if condition.type in LEVELLED}
        return tuple(one for one in altered if one.since_at == at or one.reason != levels.get(
            (one.target, one.type), one.reason))

    def conditions(self, targets: tuple[str, ...] | None = None) -> tuple[Condition, ...]:
        """Return the conditions of `targets`, or all, by target and type."""
        rows = self._rows_of("SELECT target, type, status, reason, message, revision, since_at"
                             " FROM conditions", "target", targets)
        return tuple(Condition(target, ConditionType(kind), Status(status), *rest)
                     for target, kind, status, *rest in sorted(rows))


def _by_key(conditions: tuple[Condition, ...]) -> dict[Key, Condition]:
    """Return `conditions` by target and type."""
    return {(condition.target, condition.type): condition for condition in conditions}


def _dated(condition: Condition, before: dict[Key, Condition], at: float) -> Condition:
    """Return `condition` with the instant at which its status began."""
    last = before.get((condition.target, condition.type))
    if last is None or last.status is not condition.status:
        return replace(condition, since_at=at)
    if (last.message, last.reason, last.revision) == (
            condition.message, condition.reason, condition.revision):
        return last
    return replace(condition, since_at=last.since_at)
