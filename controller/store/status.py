"""The running loop's heartbeat, for those who ask from another process."""

import json
from collections.abc import Mapping
from typing import Any

from controller.store.database import Shelf


class Heartbeat(Shelf):
    """One row of JSON, written over each time; worth nothing after a power cut."""

    def save_status(self, status: Mapping[str, Any]) -> None:
        """Say how the loop is; any JSON object."""
        text = json.dumps(dict(status), separators=(",", ":"), allow_nan=False)
        with self._database.write(durable=False) as connection:
            connection.execute("INSERT OR REPLACE INTO status VALUES (1, ?)", (text,))

    def status(self) -> dict[str, Any] | None:
        """Return what the loop said last; None when none ever ran here."""
        for (text,) in self._database.read("SELECT content FROM status"):
            content: dict[str, Any] = json.loads(text)
            return content
        return None
