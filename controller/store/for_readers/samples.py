"""Load and memory of hosts as they were: a row for each minute of a day, and each hour of a month.

A row is JSON, by node: load, bytes of memory in use. A node that was not seen then is not in it: a
gap is a gap, and is never drawn as nothing. An hour holds the most that any of its minutes held.

Both spans are pruned with each write, so that the table has an end: 300 hosts take 9 MB.
"""

import json
from collections.abc import Mapping
from typing import Final, NamedTuple

from controller.store.database import Database, Table

MINUTE_S: Final = 60
HOUR_S: Final = 3600
KEEP_S: Final[Mapping[int, float]] = {MINUTE_S: 86400.0 + HOUR_S, HOUR_S: 31 * 86400.0}
"""By step: for how long its rows are kept."""


class Sample(NamedTuple):
    """What one node was like in one step."""

    at: float
    load: float
    used_bytes: int


class Samples(Table):
    """One row for each step in which anything was seen."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._minute: int | None = None

    def save_samples(self, at: float, values: Mapping[str, tuple[float, int]]) -> None:
        """Save what nodes are like now, once a minute; further calls in the same do nothing."""
        minute = int(at) // MINUTE_S * MINUTE_S
        if minute == self._minute:
            return
        hour = minute // HOUR_S * HOUR_S
        with self._database.write(durable=False) as connection:
            before = connection.execute("SELECT content FROM samples WHERE step = ? AND at = ?",
                                        (HOUR_S, hour)).fetchall()
            worst = {node: list(value) for node, value in values.items()}
            for node, value in (json.loads(before[0][0]) if before else {}).items():
                worst[node] = [max(pair) for pair in zip(worst.get(node, value), value,
                                                         strict=True)]
            connection.executemany("INSERT OR REPLACE INTO samples VALUES (?, ?, ?)", [
                (step, start, json.dumps(content, separators=(",", ":")))
                for step, start, content in ((MINUTE_S, minute, values), (HOUR_S, hour, worst))])
            connection.executemany(     # also what a clock that was wrong wrote ahead of it
                "DELETE FROM samples WHERE step = ? AND (at < ? OR at > ?)",
                [(step, at - keep_s, at + step) for step, keep_s in KEEP_S.items()])
        self._minute = minute

    def samples(self, node: str, step: int, since_at: float) -> tuple[Sample, ...]:
        """Return what a node was like, oldest first; steps in which it was not seen are missing."""
        path = f'$."{node}"'
        rows = self._database.read(
            "SELECT at, json_extract(content, ?), json_extract(content, ?) FROM samples"
            " WHERE step = ? AND at >= ? ORDER BY at", (f"{path}[0]", f"{path}[1]", step, since_at))
        return tuple(Sample(*row) for row in rows if row[1] is not None)
