"""What every part of the store stands on: the one database."""

from controller.store.database import Database


class Shelf:
    """One concept's place in the store; the store itself is all of them together."""

    def __init__(self, database: Database) -> None:
        self._database = database
