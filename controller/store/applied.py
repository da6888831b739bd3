"""The revision that was last converged: it tells a new commit from drift."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from controller.store.database import Table


class Applied(NamedTuple):
    """A converged revision and a fingerprint of each of its objects by `Kind/name`."""

    revision: str
    fingerprints: Mapping[str, str]
    at: float


class AppliedRevision(Table):
    """One row: the newest converged revision."""

    def save_applied(self, revision: str, fingerprints: Mapping[str, str], at: float) -> None:
        """Save that the estate is now as `revision` says."""
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
