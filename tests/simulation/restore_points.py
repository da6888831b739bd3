"""The fourth law as questions to the world: what a restore point is, and that it stays."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from controller.model.replica import STORE
from controller.plan.actions.action import Action
from controller.plan.actions.replica import (
    DropPoints,
    RemoveReplica,
    ReplicateDomain,
    RetirePoints,
    VerifyReplica,
)
from controller.providers.simulated.replicas import Point, Version
from controller.providers.simulated.world import World

Instant = tuple[tuple[str, Version], ...]
"""What all disks of a VM held at once, sorted by target."""
ON_REPLICAS = (ReplicateDomain, RetirePoints, DropPoints, VerifyReplica, RemoveReplica)


class Place(NamedTuple):
    """Which point of which VM's replica on which host."""

    host: str
    uuid: str
    sequence: int


@dataclass(slots=True)
class Kept:
    """What a point was when it was first seen, and whether it was good when last seen."""

    held: Instant
    started_at: float
    good: bool


@dataclass
class RestorePoints:
    """Remembers every complete point, and every instant that the disks of a VM have been through.
    """

    world: World
    break_: Callable[[str], None]
    kept: dict[Place, Kept] = field(default_factory=dict)
    lived: dict[str, set[Instant]] = field(default_factory=dict)
    """By the VM's UUID."""

    def look(self) -> None:
        """See that nothing that was complete has changed or gone too early, and what is new."""
        self._remember_this_instant()
        seen = dict[Place, Point]()
        for node in self.world.nodes.values():
            for replica in (*node.replicas.values(), *node.unmounted_replicas.values()):
                for point in replica.points:
                    seen[Place(node.name, replica.uuid, point.sequence)] = point
        for place in [place for place in self.kept if place not in seen]:
            self._gone(place, self.kept.pop(place), seen)
        for place, point in seen.items():
            self._here(place, point)

    def _remember_this_instant(self) -> None:
        for node in self.world.nodes.values():
            for domain in node.domains.values():
                config = domain.live or domain.config
                if config is None:
                    continue
                held = []
                for disk in config.disks:
                    file = self.world.file(node, disk.source)
                    if file is not None:
                        held.append((disk.target, Version(file.serial, file.writes)))
                self.lived.setdefault(domain.uuid, set()).add(tuple(sorted(held)))

    def _here(self, place: Place, point: Point) -> None:
        known = self.kept.get(place)
        held = tuple(sorted(point.versions.items()))
        if known is None:
            self.kept[place] = Kept(held, point.started_at, not point.known_bad)
            if held not in self.lived.get(place.uuid, ()):
                self.break_(f"{_words(place)} is of no one instant")
            return
        known.good = not point.known_bad
        if (known.held, known.started_at) != (held, point.started_at):
            self.break_(f"{_words(place)} was changed after it was complete")
            known.held, known.started_at = held, point.started_at

    def _gone(self, place: Place, was: Kept, seen: dict[Place, Point]) -> None:
        newer = any(other.uuid == place.uuid and point.started_at > was.started_at
                    and not point.known_bad for other, point in seen.items())
        if was.good and not newer:
            self.break_(f"{_words(place)} was removed before there was a newer good one")

    def before(self, action: Action) -> None:
        """See that an action on replicas stays away from what VMs use."""
        if not isinstance(action, ON_REPLICAS):
            return
        if f"/{STORE}/" not in action.path:
            self.break_(f"{action.id} would write outside of the folder for replicas")
        used = {disk.source for name in action.nodes
                for domain in self.world.node(name).domains.values()
                for config in (domain.live, domain.config) if config for disk in config.disks}
        if any(path.startswith(action.path) for path in used):
            self.break_(f"{action.id} would write to a disk that a VM uses")


def _words(place: Place) -> str:
    return f"restore point {place.sequence} of {place.uuid} on {place.host}"
