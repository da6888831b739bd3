"""The running loop's status and the progress of its work, for those in another process."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

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


class ProgressReport(NamedTuple):
    """How far a copy was at an instant."""

    sentence: str
    at: float


class ProgressReports(Table):
    """The last progress report of each copy, those that have ended included."""

    def save_progress(self, target: str, sentence: str, at: float) -> None:
        """Save a report in place of the last one of this target."""
        with self._database.write(durable=False) as connection:
            connection.execute("INSERT OR REPLACE INTO progress VALUES (?, ?, ?)",
                               (target, sentence, at))

    def progress(self) -> dict[str, ProgressReport]:
        """Return the last reports, by target; one older than the work on it is of another copy."""
        return {target: ProgressReport(sentence, at) for target, sentence, at in
                self._database.read("SELECT target, sentence, at FROM progress")}
