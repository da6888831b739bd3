"""Actions on files and pools, apart from any domain."""

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
    """Delete files that were set aside long ago. Refused for a file that any domain uses."""

    paths: tuple[str, ...]
    least_age_s: float
    """How long ago each was set aside, at least, by the clock of its host."""
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
    """What was appended to it."""
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
    """Accept that a pool lies on another file system from now on. Nothing is done on its host."""

    pool: str
    path: str
    identity: str
    """The file system that it lies on now."""
    verb: ClassVar[str] = "accept-pool"
    rung: ClassVar[Rung] = Rung.START
    takes: ClassVar[bool] = False

    @property
    def detail(self) -> str:
        """Return the pool."""
        return self.pool
