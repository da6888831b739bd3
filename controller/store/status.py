"""The running loop's status, for verbs that run in another process."""

import json
from collections.abc import Mapping
from typing import Any

from controller.store.database import Table


class Heartbeat(Table):
    """One row of JSON, replaced each time; worthless after a power cut."""

    def save_status(self, status: Mapping[str, Any]) -> None:
        """Save the status of the loop: any JSON object."""
        text = json.dumps(dict(status), separators=(",", ":"), allow_nan=False)
        with self._database.write(durable=False) as connection:
            connection.execute("INSERT OR REPLACE INTO status VALUES (1, ?)", (text,))

    def status(self) -> dict[str, Any] | None:
        """Return the last status; None when no loop ever ran here."""
        for (text,) in self._database.read("SELECT content FROM status"):
            content: dict[str, Any] = json.loads(text)
            return content
        return None
