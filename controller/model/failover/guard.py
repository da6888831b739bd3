"""Guards and grantors: what each is told, and what is seen of them.

A guard is a process pair on a host that ends guests once nobody grants any more; a grantor answers
the asks of guards, notes when it did, and can refuse.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class GrantorAddress:
    """Where a grantor listens."""

    name: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class GuardOrders:
    """All that the guard of a host is told, but its key."""

    digest: str
    """Of all the rest: by it one sees whether a guard goes by these orders."""
    host: str
    grantors: tuple[GrantorAddress, ...]
    victims: tuple[str, ...]
    """The names that the VMs with `isolation: stop` may have in libvirt, sorted."""
    deadline_s: float
    kill_s: float
    feed_s: float
    watchdog_s: float
    watchdog: str | None
    key_file: str
    """On the controller: what the key of this host is derived from."""


@dataclass(frozen=True, slots=True)
class GrantorOrders:
    """All that a grantor is told, but the keys."""

    digest: str
    name: str
    address: str
    port: int
    hosts: tuple[str, ...]
    """Whom it may grant to, sorted."""
    key_file: str


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What a guard wrote before it ended a guest."""

    uuid: str
    name: str
    """In libvirt."""
    at: float
    """By the host's clock, for people."""
    why: str
    still_s: float = 0.0
    """How long the host had stood still just before, as its guard noticed; 0: it had not."""


@dataclass(frozen=True, slots=True)
class GuardFacts:
    """The guard of one host; one that does not run has only what it left."""

    running: bool = False
    program: str = ""
    """The version that runs: the beginning of its archive's hash."""
    digest: str = ""
    """Of the orders that it goes by."""
    outdated: bool = False
    """Whether it runs another program, or has another key, than this controller would give it."""
    since_at: float = 0.0
    """When it was started, by the host's clock."""
    granted: bool = False
    """Whether anybody has granted since the host was booted; before, it ends nothing."""
    content: bool = False
    """Whether its last grant is young enough."""
    grantors: tuple[str, ...] = ()
    """Whom it asks, in its order."""
    granted_by: tuple[str, ...] = ()
    """Those that have granted lately."""
    refused_by: tuple[str, ...] = ()
    """Those that have answered lately that they do not."""
    deadline_s: float = 0.0
    kill_s: float = 0.0
    feed_s: float = 0.0
    watchdog_s: float = 0.0
    watchdog: str = "none"
    """What the device is that it feeds: hardware, software, fifo; missing: it cannot be opened;
    none: none is declared, or nothing was granted yet."""
    identity: str = ""
    """What the device calls itself, or why it cannot be opened."""
    watchdog_timeout_s: float = 0.0
    """After which time the device says that it fires."""
    fed: bool = False
    """Whether it was fed lately."""
    held: tuple[str, ...] = ()
    """The UUIDs of the guests that it would end, sorted."""
    stubborn: int = 0
    """How many of them should have ended, and have not."""
    processes: int = 0
    """How many of its two run."""
    tombstones: tuple[Tombstone, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    """By grantor: where it asks for it; one that does not say so is asked where it is declared."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """One host that a grantor refuses."""

    epoch: int
    term: int
    by: str
    why: str
    age_s: float
    """How long ago it was granted last, or if `since_start`, how long ago the grantor began; whole
    seconds, rounded down, and a day at most."""
    since_start: bool


@dataclass(frozen=True, slots=True)
class GrantorFacts:
    """The grantor of one node. What changes each second is said of hosts alone that are revoked or
    silent."""

    running: bool = False
    program: str = ""
    digest: str = ""
    outdated: bool = False
    name: str = ""
    """By which hosts ask it."""
    term: int = 0
    """The highest that has given it orders."""
    listening_s: float = 0.0
    """For how long it has listened, rounded down to a power of two; an hour at most."""
    hears: tuple[str, ...] = ()
    """The hosts that have asked lately, revoked ones too; sorted."""
    silent: Mapping[str, float] = field(default_factory=dict)
    """By every other host that it has heard since its start: how long ago; an hour at most."""
    never: tuple[str, ...] = ()
    """The hosts that it would answer and has not heard since its start; sorted."""
    revoked: Mapping[str, Revocation] = field(default_factory=dict)
    disarmed: tuple[str, ...] = ()
    """The hosts whose guards it was told not to count on."""
