"""The nouns of packing: hosts, machines, limits, moves, and how even the result is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class PlaceHost(NamedTuple):
    """A host as placement sees it; `memory_bytes` is what guests may use in all."""

    name: str
    site: str
    memory_bytes: int
    cpus: int
    accepts: bool = True
    """False: nothing is moved or started there (silent, drained, without libvirt)."""
    drains: bool = False
    """True: what is movable leaves; such a host does not accept either."""
    offers: frozenset[str] = frozenset()
    """Its pools."""
    huge_bytes: int = 0
    """What guests may use of huge pages, which is not in `memory_bytes`."""
    space: Mapping[str, int] | None = None
    """By pool: the bytes left for disks that arrive; None if unknown."""


class PlaceMachine(NamedTuple):
    """A machine as placement sees it."""

    name: str
    memory_bytes: int
    cpus: int = 1
    sites: tuple[str, ...] = ()
    """Where it may be; empty: anywhere."""
    host: str | None = None
    """Its pin."""
    groups: tuple[str, ...] = ()
    """It shares a host with no other machine that names one of these."""
    needs: tuple[str, ...] = ()
    """Pools its host must have."""
    fixed: bool = False
    """It cannot be moved now; it keeps its reservation where it is."""
    has_local_disks: bool = False
    """It is off and its disks are on its host: it leaves for its pin or site, not for balance."""
    huge_bytes: int = 0
    """What it takes of huge pages, instead of memory."""


class Limits(NamedTuple):
    """The numbers that placement keeps to."""

    cpu_ratio: float = 4.0


class Move(NamedTuple):
    """A machine that leaves its host; `why` ends the sentence `it belongs elsewhere: …`."""

    machine: str
    source: str
    target: str
    why: str


class Unplaced(NamedTuple):
    """A machine that no host has room for or may take, and why."""

    machine: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Placement:
    """Where every machine belongs; an unplaced machine that is somewhere stays there."""

    assignments: Mapping[str, str]
    moves: tuple[Move, ...]
    unplaced: tuple[Unplaced, ...]


class Balance(NamedTuple):
    """How unevenly the hosts are filled: standard deviations of shares over the hosts."""

    memory: float
    cpus: float
    machines: float = 0.0
    """Of their plain number per host."""


def misplaced(machine: PlaceMachine, host: PlaceHost) -> str:
    """Return why `machine` may not stay on `host`, whatever else is there; empty when it may."""
    if machine.host is not None:
        if machine.host != host.name:
            return f"it is pinned to {machine.host}"
    elif machine.sites and host.site not in machine.sites:
        return f"it belongs at {' or '.join(machine.sites)}"
    elif machine.needs and not host.offers.issuperset(machine.needs):
        return f"{host.name} does not declare its pool"
    if host.drains:
        return f"{host.name} is in maintenance"
    return ""
