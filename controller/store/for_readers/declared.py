"""The documents in force and their places, for readers that must not load the specs again."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from controller.store.database import Database, Table


class DeclaredDocument(NamedTuple):
    """One document as it was written, defaults left out, and the file and line where it is."""

    place: str
    content: Mapping[str, Any]


class DeclaredDocuments(Table):
    """One row for each document; only those that a revision changed are written."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._rows: dict[str, tuple[str, str]] | None = None

    def save_declared(self, documents: Mapping[str, DeclaredDocument]) -> None:
        """Replace all documents by `documents`: by `Kind/name`."""
        after = {target: (one.place, json.dumps(one.content, separators=(",", ":")))
                 for target, one in documents.items()}
        before = self._rows if self._rows is not None else {
            target: (place, content) for target, place, content in
            self._database.read("SELECT target, place, content FROM declared")}
        if before == after:
            self._rows = after
            return
        self._rows = None
        with self._database.write(durable=False) as connection:
            connection.executemany("DELETE FROM declared WHERE target = ?",
                                   [(target,) for target in before.keys() - after.keys()])
            connection.executemany(
                "INSERT OR REPLACE INTO declared VALUES (?, ?, ?)",
                [(target, *row) for target, row in after.items() if before.get(target) != row])
        self._rows = after

    def declared(self, targets: tuple[str, ...] | None = None) -> dict[str, DeclaredDocument]:
        """Return the documents of `targets` that are in force, or of all, by `Kind/name`."""
        rows = self._rows_of("SELECT target, place, content FROM declared", "target", targets)
        return {target: DeclaredDocument(place, json.loads(content))
                for target, place, content in rows}
