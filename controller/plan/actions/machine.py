"""Actions on domains."""

from dataclasses import dataclass
from typing import ClassVar

from controller.model.document import Rung
from controller.plan.actions.action import Action, Symbol
from controller.plan.actions.desired import DesiredDisk, DesiredDomain, DesiredNic, DomainChange


@dataclass(frozen=True, slots=True, kw_only=True)
class DefineDomain(Action):
    """Define a domain that exists nowhere; its disks are already there."""

    desired: DesiredDomain
    verb: ClassVar[str] = "define"
    rung: ClassVar[Rung] = Rung.START
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.CREATE


@dataclass(frozen=True, slots=True, kw_only=True)
class StartDomain(Action):
    """Start a defined domain: the one with `uuid`, whatever its name is by then."""

    domain: str
    uuid: str = ""
    verb: ClassVar[str] = "start"
    rung: ClassVar[Rung] = Rung.START
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.CREATE


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeDomain(Action):
    """Resume a paused domain."""

    domain: str
    uuid: str = ""
    verb: ClassVar[str] = "resume"
    rung: ClassVar[Rung] = Rung.START
    takes: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutDownDomain(Action):
    """Ask the guest to shut down, and cut its power after `limit_s`."""

    domain: str
    uuid: str = ""
    limit_s: float
    verb: ClassVar[str] = "shut-down"
    rung: ClassVar[Rung] = Rung.RESTART
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.REMOVE


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartDomain(Action):
    """Shut down cleanly (power cut after `limit_s`), then start, so that pending changes apply."""

    domain: str
    uuid: str = ""
    limit_s: float
    verb: ClassVar[str] = "restart"
    rung: ClassVar[Rung] = Rung.RESTART
    takes: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DisableAutostart(Action):
    """Switch libvirt's own autostart off, since libvirt cannot know whether starting is safe."""

    domain: str
    uuid: str = ""
    verb: ClassVar[str] = "disable-autostart"
    rung: ClassVar[Rung] = Rung.START
    takes: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconfigureDomain(Action):
    """Patch managed fields of a domain.

    `live`: also in the running guest; else in the inactive XML alone, for the next boot.
    """

    domain: str
    uuid: str = ""
    changes: tuple[DomainChange, ...]
    live: bool
    disk: str = ""
    """The new disk that it plugs in, once its file exists; empty if there is none."""
    verb: ClassVar[str] = "reconfigure"
    rung: ClassVar[Rung] = Rung.START
    takes: ClassVar[bool] = False

    @property
    def detail(self) -> str:
        """Return whether it is live or for the next boot, and which disk it is about."""
        side = "live" if self.live else "config"
        return f"{side}-{self.disk}" if self.disk else side


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneDomain(Action):
    """Pull disks or cards out of a domain, or leave its running guest less memory or fewer CPUs.

    `live`: also in the running guest; else in the inactive XML alone, for the next boot.
    """

    domain: str
    uuid: str = ""
    changes: tuple[DomainChange, ...]
    live: bool
    verb: ClassVar[str] = "prune"
    rung: ClassVar[Rung] = Rung.PRUNE
    takes: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.REMOVE

    @property
    def detail(self) -> str:
        """Return whether it is live or for the next boot."""
        return "live" if self.live else "config"


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrateDomain(Action):
    """Move a running domain to host `to` without stopping it; its definition moves along.

    Shapes: `disks` with their paths and sizes at the destination; `with_storage` copies them,
    except those in `kept`.
    """

    domain: str
    uuid: str = ""
    to: str
    to_address: str
    to_replication_address: str
    with_storage: bool
    disks: tuple[DesiredDisk, ...]
    kept: tuple[str, ...] = ()
    """Targets of disks that both hosts share, so that they stay."""
    media: tuple[str, ...] = ()
    """Files in its drives; they must exist there under the same path. Small ones are copied."""
    autostart: bool = False
    """libvirt starts it when its host boots, and does so there, too."""
    nics: tuple[DesiredNic, ...] = ()
    """Its cards that the other host has at another place."""
    to_user: str = "root"
    """As whom the source's libvirt logs in there."""
    to_port: int = 22
    verb: ClassVar[str] = "migrate"
    rung: ClassVar[Rung] = Rung.MIGRATE
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.MOVE

    @property
    def copied(self) -> tuple[DesiredDisk, ...]:
        """Return the disks that are copied to the destination."""
        if not self.with_storage:
            return ()
        return tuple(disk for disk in self.disks if disk.target not in self.kept)

    @property
    def detail(self) -> str:
        """Return the destination."""
        return self.to

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return source and destination."""
        return (self.node, self.to)


@dataclass(frozen=True, slots=True, kw_only=True)
class UndefineDomain(Action):
    """Undefine a domain that is off and whose VM runs elsewhere; its disks stay."""

    domain: str
    uuid: str = ""
    verb: ClassVar[str] = "undefine"
    rung: ClassVar[Rung] = Rung.DELETE
    takes: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.REMOVE


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveDomain(Action):
    """Shut a domain down, set `disk_paths` aside and undefine it. Needs `deletion: delete`.

    `suffix` is appended to the name of each file; a file with that name already is done.
    """

    domain: str
    uuid: str = ""
    limit_s: float
    disk_paths: tuple[str, ...]
    suffix: str
    verb: ClassVar[str] = "remove"
    rung: ClassVar[Rung] = Rung.DELETE
    takes: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.REMOVE
