"""The verbs: every change the controller can make to the world, and nothing else.

Rule 1: an action is a value that says everything its hands need; hands look nothing up.
Rule 2: `reason` and `consequence` are for people and are never branched on.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from controller.model.document import Rung
from controller.plan.wishes import DiskWish, DomainChange, DomainWish


class Cause(StrEnum):
    """Why the world and the specs differ."""

    DRIFT = "drift"
    """The world moved."""
    COMMIT = "new commit"
    """The specs moved."""
    HUMAN = "human"
    """Somebody asked for it by hand."""
    ROUTINE = "routine"
    """Nothing differs: it is due again, as it is every so often."""


class Symbol(StrEnum):
    """The plan's alphabet."""

    CREATE = "+"
    CHANGE = "~"
    MOVE = ">"
    REMOVE = "-"
    FENCE = "!"
    PROMOTE = "^"
    REPLICATE = "*"
    UNKNOWN = "?"


@dataclass(frozen=True, slots=True)
class Ask:
    """What a person has to say yes to, whatever is granted, before an action is begun."""

    rule: str
    """The gate's name: adopt, takes, anew."""
    sentence: str
    """What would be lost, or taken from whom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One change to one thing on one node."""

    target: str
    """`Kind/name`: what is shown, suspended, quarantined and never in two hands at once."""
    node: str
    """The host or switch whose command does it."""
    reason: str
    """A sentence: what is seen, and what is declared."""
    consequence: str = ""
    """What it means for users: live, cold restart, bytes to send."""
    cause: Cause = Cause.DRIFT
    ask: Ask | None = None
    """Unset: what is granted is enough."""

    verb: ClassVar[str] = ""
    rung: ClassVar[Rung] = Rung.DELETE
    takes: ClassVar[bool]
    """Whether it takes something away (a VLAN, a port, a device, a file, a point); each class says.
    """
    reverts: ClassVar[bool] = False
    """Whether the node undoes it by itself unless it can be reached afterwards."""
    symbol: ClassVar[Symbol] = Symbol.CHANGE

    @property
    def detail(self) -> str:
        """Return what tells this action from others of its verb on the same target and node."""
        return ""

    @property
    def goal(self) -> str:
        """Return what it is to bring about, whatever it starts from; another goal, another try."""
        return ""

    @property
    def id(self) -> str:
        """Return the action's deterministic name: the same wish has the same name for ever."""
        suffix = f"/{self.detail}" if self.detail else ""
        return f"{self.verb}:{self.target}@{self.node}{suffix}"

    @property
    def parts(self) -> tuple[str, ...]:
        """Return what it takes, each by a word, where that may become more under the same name."""
        return ()

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return every node it touches; facts of all of them must be fresh when it begins."""
        return (self.node,)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBridge(Action):
    """Create the bridge of a node; uplinks are added by actions of their own."""

    bridge: str
    rstp: bool = False
    verb: ClassVar[str] = "create-bridge"
    rung: ClassVar[Rung] = Rung.NETWORK
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.CREATE


@dataclass(frozen=True, slots=True, kw_only=True)
class AddUplink(Action):
    """Plug an uplink or a switch port into the bridge as a trunk. Commit-confirmed."""

    bridge: str
    port: str
    vlans: tuple[int, ...]
    native: int | None = None
    """The VLAN of its untagged frames; 0: they stay without one; None: none pass."""
    every: bool = False
    """Every VLAN passes."""
    verb: ClassVar[str] = "add-uplink"
    rung: ClassVar[Rung] = Rung.NETWORK
    takes: ClassVar[bool] = False
    reverts: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.CREATE

    @property
    def detail(self) -> str:
        """Return the port."""
        return self.port

    @property
    def goal(self) -> str:
        """Return what is declared."""
        return f"{self.bridge} {self.vlans}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPortVlan(Action):
    """Put a guest's live port back on its VLAN."""

    bridge: str
    port: str
    mac: str
    vlan: int
    was: int | None
    verb: ClassVar[str] = "set-port-vlan"
    rung: ClassVar[Rung] = Rung.NETWORK
    takes: ClassVar[bool] = False

    @property
    def detail(self) -> str:
        """Return the card's MAC."""
        return self.mac


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

    disk: DiskWish
    verb: ClassVar[str] = "create-disk"
    rung: ClassVar[Rung] = Rung.START
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.CREATE

    @property
    def detail(self) -> str:
        """Return the disk's target."""
        return self.disk.target


@dataclass(frozen=True, slots=True, kw_only=True)
class DefineDomain(Action):
    """Define a domain that exists nowhere; its disks are already there."""

    wish: DomainWish
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
    """Let a paused domain run on."""

    domain: str
    verb: ClassVar[str] = "resume"
    rung: ClassVar[Rung] = Rung.START
    takes: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutDownDomain(Action):
    """Ask the guest to shut down, and cut its power after `limit_s`."""

    domain: str
    limit_s: float
    verb: ClassVar[str] = "shut-down"
    rung: ClassVar[Rung] = Rung.RESTART
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.REMOVE


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartDomain(Action):
    """Shut down cleanly (power cut after `limit_s`), then start, so that pending changes hold."""

    domain: str
    limit_s: float
    verb: ClassVar[str] = "restart"
    rung: ClassVar[Rung] = Rung.RESTART
    takes: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DisableAutostart(Action):
    """Switch libvirt's own autostart off: only the controller may know that starting is safe."""

    domain: str
    verb: ClassVar[str] = "disable-autostart"
    rung: ClassVar[Rung] = Rung.START
    takes: ClassVar[bool] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconfigureDomain(Action):
    """Patch managed fields of a domain.

    `live`: also in the running guest; else in the inactive XML alone, for the next boot.
    """

    domain: str
    changes: tuple[DomainChange, ...]
    live: bool
    disk: str = ""
    """The one new disk that it plugs in, once the file is there; empty: it waits for nothing."""
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

    Shapes: `disks` with their paths and sizes at the destination; `with_storage` copies them, but
    for those that are `kept`.
    """

    domain: str
    to: str
    to_address: str
    to_replication_address: str
    with_storage: bool
    disks: tuple[DiskWish, ...]
    kept: tuple[str, ...] = ()
    """Targets of disks that stay where they are, since both hosts share them."""
    media: tuple[str, ...] = ()
    """Files in its drives: the same must lie there under the same path; small ones are brought."""
    verb: ClassVar[str] = "migrate"
    rung: ClassVar[Rung] = Rung.MIGRATE
    takes: ClassVar[bool] = False
    symbol: ClassVar[Symbol] = Symbol.MOVE

    @property
    def copied(self) -> tuple[DiskWish, ...]:
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
    """Forget a domain that is off and whose VM runs elsewhere; its disks stay."""

    domain: str
    verb: ClassVar[str] = "undefine"
    rung: ClassVar[Rung] = Rung.DELETE
    takes: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.REMOVE


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveDomain(Action):
    """Shut a domain down, set `disk_paths` aside and undefine it. Needs `deletion: delete`.

    `suffix` is put behind the name of each file; a file that has that name already is done.
    """

    domain: str
    limit_s: float
    disk_paths: tuple[str, ...]
    suffix: str
    verb: ClassVar[str] = "remove"
    rung: ClassVar[Rung] = Rung.DELETE
    takes: ClassVar[bool] = True
    symbol: ClassVar[Symbol] = Symbol.REMOVE
