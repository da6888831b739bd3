"""What each receiver of notifications was told, and what waits to be sent to it."""

import json
from typing import Any

from controller.store.database import Table


class Receivers(Table):
    """One row per receiver."""

    def save_receiver(self, name: str, content: dict[str, Any], *, durable: bool) -> None:
        """Replace what is remembered of a receiver."""
        with self._database.write(durable=durable) as connection:
            connection.execute("INSERT OR REPLACE INTO receivers VALUES (?, ?)",
                               (name, json.dumps(content)))

    def receivers(self) -> dict[str, Any]:
        """Return what is remembered of each receiver."""
        return {name: json.loads(content) for name, content in self._database.read(
            "SELECT name, content FROM receivers ORDER BY name")}

    def forget_receiver(self, name: str) -> None:
        """Delete what is remembered of a receiver."""
        with self._database.write(durable=False) as connection:
            connection.execute("DELETE FROM receivers WHERE name = ?", (name,))
