"""A journal that may kill the controller before or after any line is written."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from sqlite3 import Connection

from controller.errors import JournalUnavailable
from controller.store.database import Database
from controller.store.schema import migrate
from controller.store.store import Store


@dataclass
class Fuse:
    """Blows at the write that is `left` writes away; then nothing can be written any more."""

    left: int | None = None
    committed: bool = False
    """True where the fatal line still reaches the disk."""
    blown: bool = False
    on_blow: Callable[[], None] = lambda: None

    def light(self, left: int, *, committed: bool) -> None:
        """Let the controller die at the write that is `left` writes away."""
        self.left, self.committed = left, committed

    def mend(self) -> None:
        """A new controller has begun."""
        self.left, self.blown = None, False

    def burns_down(self) -> bool:
        """Take note of one write and return whether it is the fatal one."""
        if self.left is None:
            return False
        self.left -= 1
        self.blown = self.left < 0
        if self.blown:
            self.on_blow()
        return self.blown


class FragileDatabase(Database):
    """A database in memory whose writer dies with the fuse."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__(":memory:")
        self._fuse = fuse

    @contextmanager
    def write(self, *, durable: bool) -> Iterator[Connection]:
        """Hold one transaction, unless the controller is dead."""
        dead = JournalUnavailable("the controller died at this line")
        if self._fuse.blown:
            raise dead
        fatal = self._fuse.burns_down()
        if fatal and not self._fuse.committed:
            raise dead
        with super().write(durable=durable) as connection:
            yield connection
        if fatal:
            raise dead


def fragile_store(fuse: Fuse) -> Store:
    """Return an empty store in memory that the fuse can end."""
    database = FragileDatabase(fuse)
    database.open()
    migrate(database)
    return Store(database, None, None)
