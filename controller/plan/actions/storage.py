"""The verbs of files and pools as such: what is given back, purged, and taken as it is now."""

from dataclasses import dataclass
from typing import ClassVar

from controller.model.document import Rung
from controller.plan.actions.action import Action, Symbol
from controller.plan.actions.desired import DesiredDisk


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePool(Action):
    """Define and start a directory pool, or start one that is defined. Never touches its files."""

    pool: str
    path: str
    verb: ClassVar[str] = "create-pool"
    rung: ClassVar[Rung] = Rung.START
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.CREATE

    @property
    def detail(self) -> str:
        """Return the pool."""
        return self.pool


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateDisk(Action):
    """Create one disk file, empty or as a copy of an image. Refused when the file exists."""

    disk: DesiredDisk
    verb: ClassVar[str] = "create-disk"
    rung: ClassVar[Rung] = Rung.START
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.CREATE

    @property
    def detail(self) -> str:
        """Return the disk's target."""
        return self.disk.target


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeFiles(Action):
    """Delete files that were set aside long ago; one that any domain uses is refused."""

    paths: tuple[str, ...]
    least_age_s: float
    """Since each was set aside, by the clock of its host."""
    verb: ClassVar[str] = "purge"
    rung: ClassVar[Rung] = Rung.DELETE
    takes: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.REMOVE


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnDisk(Action):
    """Give a file that was set aside its old name back. Refused where that name is taken."""

    path: str
    """Its old name."""
    suffix: str
    """What was put behind it."""
    verb: ClassVar[str] = "return-disk"
    rung: ClassVar[Rung] = Rung.START
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.CREATE

    @property
    def detail(self) -> str:
        """Return the file."""
        return self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptPool(Action):
    """Take it that a pool lies on another file system from now on. Nothing is done on its host."""

    pool: str
    path: str
    identity: str
    """What it lies on now."""
    verb: ClassVar[str] = "accept-pool"
    rung: ClassVar[Rung] = Rung.START
    takes: ClassVar[bool] = False

    @property
    def detail(self) -> str:
        """Return the pool."""
        return self.pool
