"""Renames: rows about an object that was renamed in the specs get its new name.

Rule 1: nothing is lost by it. Of two pauses of one object, the one that ends later stays.
"""

from collections.abc import Mapping

from controller.store.database import Table


class Renames(Table):
    """All tables that name objects."""

    def rename(self, now: Mapping[str, str], nodes: Mapping[str, str]) -> bool:
        """Rename objects in every table; return whether any row was about them.

        Shapes: `now` is `Kind/new` by `Kind/former`; `nodes` is new node names by former ones.
        Errors: JournalUnavailable; nothing was renamed.
        """
        pairs = [(name, former) for former, name in now.items()]
        machines = [(name.partition("/")[2], former.partition("/")[2]) for name, former in pairs
                    if former.startswith("VirtualMachine/")]
        hosts = [(name, former) for former, name in nodes.items()]
        if not pairs or not self._knows([former for _, former in pairs],
                                        [former for _, former in machines], list(nodes)):
            return False
        with self._database.write(durable=True) as connection:
            connection.executemany(
                "UPDATE events SET action_id = replace(action_id, ':' || ?2 || '@', ':' || ?1 ||"
                " '@'), target = ?1 WHERE target = ?2", pairs)
            connection.executemany("UPDATE events SET node = ?1 WHERE node = ?2", hosts)
            connection.executemany(
                "INSERT INTO suspensions SELECT ?1, by, why, until_at FROM suspensions"
                " WHERE target = ?2 ON CONFLICT (target) DO UPDATE SET by = excluded.by,"
                " why = excluded.why, until_at = excluded.until_at"
                " WHERE excluded.until_at > suspensions.until_at", pairs)
            connection.executemany("DELETE FROM suspensions WHERE target = ?2 AND ?1 <> ?2", pairs)
            connection.executemany(
                "UPDATE OR REPLACE conditions SET target = ?1 WHERE target = ?2", pairs)
            connection.executemany(
                "UPDATE OR REPLACE requests SET machine = ?1 WHERE machine = ?2", machines)
            connection.executemany(
                "UPDATE OR REPLACE memories SET name = ?1 WHERE name = ?2"
                " AND kind IN ('stood', 'left', 'kept', 'boot')", machines)
            connection.executemany(
                "UPDATE memories SET value = ?1 WHERE value = ?2 AND kind = 'stood'", hosts)
            connection.executemany(
                "UPDATE OR REPLACE memories SET name = ?1 || substr(name, length(?2) + 1)"
                " WHERE kind = 'pool' AND substr(name, 1, length(?2) + 1) = ?2 || ' '", hosts)
            connection.executemany(
                "UPDATE OR REPLACE failovers SET target = ?1 WHERE target = ?2", pairs)
            connection.executemany(
                "UPDATE OR REPLACE failed_moves SET target = ?1 WHERE target = ?2", pairs)
            connection.executemany(
                "UPDATE OR REPLACE confirmations SET host = ?1 WHERE host = ?2", hosts)
            connection.executemany("UPDATE OR IGNORE seen SET node = ?1 WHERE node = ?2", hosts)
            connection.executemany("DELETE FROM seen WHERE node = ?2 AND ?1 <> ?2", hosts)
        return True

    def _knows(self, targets: list[str], machines: list[str], nodes: list[str]) -> bool:
        """Return whether any row has one of these names."""
        return any(
            self._database.read(f"SELECT 1 FROM {table} WHERE {column} = ? LIMIT 1", (name,))
            for table, column, names in (
                ("events", "target", targets), ("suspensions", "target", targets),
                ("conditions", "target", targets), ("requests", "machine", machines),
                ("memories", "name", machines),
                ("failovers", "target", targets), ("failed_moves", "target", targets),
                ("confirmations", "host", nodes),
                ("seen", "node", nodes))
            for name in names)
