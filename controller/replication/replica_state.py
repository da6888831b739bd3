"""What a replica holds, as the mover on its host tells: the truth from which a copy goes on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from controller.model.replica import CHECKPOINT

NAME: Final = re.compile(rf"({CHECKPOINT}[0-9]{{6,}}(-[0-9a-f]+)?(\.[0-9]+)?)?")
"""Of a checkpoint; empty where there is none."""
UNIQUE: Final = re.compile(rf"{CHECKPOINT}[0-9]{{6,}}-[0-9a-f]+(\.[0-9]+)?")
"""Of one that was never the name of another; earlier versions gave the same name twice."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """What has come of a disk's next point, and what was noted with it."""

    kind: str
    parent: int | None
    size_bytes: int
    checkpoint: str
    """The source's checkpoint of the last whole slice; empty where none was whole."""
    covered_bytes: int
    """All before this had come by then."""
    origin: Any = None
    """What the disk lay in by then, and in which run of its guest."""
    run: str = ""


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """One replica."""

    secret: str
    algorithm: str
    newest: int
    """Sequence of the newest point; 0 where there is none."""
    busy: bool
    """Something had changed when it was made: most likely something will have by the next."""
    checkpoint: str
    sizes: Mapping[str, int]
    """By disk of the newest point."""
    fingerprints: Mapping[str, Any]
    """Of the source's images, where the newest point was made at rest."""
    arrived: Mapping[str, Arrived] = field(default_factory=dict)
    repair: Mapping[str, list[list[int]]] = field(default_factory=dict)
    """By disk: byte ranges that the newest point reads wrong."""
    scan: frozenset[str] = frozenset()
    """Disks of which a file is lost."""
    baseless: frozenset[str] = frozenset()
    """Those of them that have nothing to build on."""
    origins: Mapping[str, Any] = field(default_factory=dict)
    """What the source's disks lay in at the newest point, and in which run of their guest."""
    run: str = ""
    recovered: str = ""
    """Why its state was read from a copy; empty where that was not so."""
    sent: Mapping[str, str | None] = field(default_factory=dict)
    """By disk: what was sent since the checkpoint was made, as the target's mover tells it."""
    left_out: frozenset[str] = frozenset()
    """Disks that the source could not copy into the newest point."""


def parse_picture(made: dict[str, Any]) -> ReplicaState:
    """Return a replica from the answer of `replica-make`.

    Errors: KeyError, TypeError or ValueError for an answer of another shape.
    """
    told = made["replica"]
    points = told["points"]
    newest = points[-1] if points else None
    scan = frozenset(told["scan"])
    return ReplicaState(
        secret=made["secret"], algorithm=made["algorithm"],
        newest=int(newest["sequence"]) if newest else 0,
        busy=newest is not None and any(newest["files"].values()),
        checkpoint=own(parse_checkpoint(newest["checkpoint"])) if newest else "",
        sizes={} if newest is None else {
            disk: top_size(told["files"][disk]) for disk in newest["files"]},
        fingerprints=newest["facts"].get("fingerprints", {}) if newest else {},
        arrived={disk: parse_arrived(one) for disk, one in told["incoming"].items()},
        origins=newest["facts"].get("origins", {}) if newest else {},
        run=newest["facts"].get("run", "") if newest else "",
        recovered=told.get("recovered", ""), sent=told.get("sent", {}),
        repair=told["repair"], scan=scan,
        left_out=frozenset(newest["facts"].get("left_out", ())) if newest else frozenset(),
        baseless=frozenset(disk for disk in scan if not told["files"][disk][0]["present"]))


def parse_checkpoint(told: str) -> str:
    """Return the name of a checkpoint, which one host tells and the other one will be told.

    Errors: TypeError or ValueError for what could be anything else.
    """
    if NAME.fullmatch(told) is None:
        raise ValueError(f"{told!r} is not the name of a checkpoint")
    return told


def own(name: str) -> str:
    """Return the name of a checkpoint that can be no other's; such a one alone is built on."""
    return name if UNIQUE.fullmatch(name) else ""


def top_size(files: list[dict[str, Any]]) -> int:
    """Return a disk's size at the newest point: that of the file on top of its chain."""
    return int(files[-1]["size_bytes"])


def parse_arrived(told: dict[str, Any]) -> Arrived:
    """Return one incoming."""
    note = told["note"] or {}
    return Arrived(told["kind"], told["parent"], int(told["size_bytes"]),
                   own(parse_checkpoint(note.get("checkpoint", ""))), int(note.get("covered", 0)),
                   note.get("origin"), note.get("run", ""))
