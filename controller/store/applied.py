"""The revision that was last converged, so that a difference can be told from drift."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from controller.store.database import Shelf


class Applied(NamedTuple):
    """A converged revision and a fingerprint of each of its objects by `Kind/name`."""

    revision: str
    fingerprints: Mapping[str, str]
    at: float


class AppliedRevision(Shelf):
    """One row: the newest converged revision."""

    def save_applied(self, revision: str, fingerprints: Mapping[str, str], at: float) -> None:
        """Remember that `revision` is what the world now looks like."""
        text = json.dumps(dict(sorted(fingerprints.items())), separators=(",", ":"))
        with self._database.write(durable=True) as connection:
            connection.execute("INSERT OR REPLACE INTO applied VALUES (1, ?, ?, ?)",
                               (revision, text, at))

    def applied(self) -> Applied | None:
        """Return the newest converged revision; None before the first."""
        for revision, text, at in self._database.read(
                "SELECT revision, fingerprints, at FROM applied"):
            return Applied(revision, json.loads(text), at)
        return None
