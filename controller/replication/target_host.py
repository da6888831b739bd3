"""The target end of a restore point: what is received of each disk, until it is published.

Rule 1: until `publish` is asked for, no published point has changed.
"""

import secrets
from typing import Any, Final

from controller.model.replica import CLUSTER_BYTES
from controller.plan.actions.replica import ReplicateDomain
from controller.replication.copy_plan import BASE, Ranges, ReplicaState, parse_replica
from controller.replication.mover import MoverSession
from controller.replication.source_host import OpenCopy

ANSWER_S: Final = 60.0
PUBLISH_S: Final = 3600.0
SLOW_BYTES_S: Final = 50e6
"""Lowest rate assumed for re-reading a received disk; it sets the time limit of that check."""


def parse_missing(answer: dict[str, Any], size_bytes: int) -> Ranges:
    """Return the missing ranges of a base; if the list was cut short, its last one goes to the end.

    Errors: KeyError, TypeError or ValueError for an answer of another shape.
    """
    missing = [(int(first) * CLUSTER_BYTES, int(count) * CLUSTER_BYTES)
               for first, count in answer["missing"]]
    if int(answer["missing_ranges"]) > len(missing):
        missing[-1] = (missing[-1][0], size_bytes - missing[-1][0])
    return tuple(missing)


class TargetEnd:
    """Requests to the mover of a VM's replica; `failed` begins every error's sentence.

    Rule 1: each request carries this attempt's id; the mover accepts no data of another attempt.
    """

    def __init__(self, session: MoverSession, action: ReplicateDomain, failed: str) -> None:
        self.session = session
        self._action, self._failed = action, failed
        self._opened: set[str] = set()
        self.attempt = secrets.token_hex(8)

    async def look(self, estate: str) -> ReplicaState:
        """Return the replica's state; an empty replica is created if there is none."""
        return parse_replica(await self._ask(
            "replica-make", vm=self._action.uuid, algorithm="xxh3-128",
            facts={"machine": self._action.machine, "estate": estate}))

    async def open(self, disks: dict[str, dict[str, Any]], epoch: int) -> dict[str, Ranges]:
        """Open an incoming file for each disk, by its kind and size in bytes, once per attempt.

        `epoch` is that of the copied domain: a replica that follows a newer one refuses.
        Returns the missing ranges of each base that was opened now, in bytes.
        """
        fresh = {target: disk for target, disk in disks.items() if target not in self._opened}
        if not fresh:
            return {}
        answer = await self._ask("incoming-open", attempt=self.attempt, disks=fresh,
                                 epoch=epoch)
        self._opened |= set(fresh)
        return {target: parse_missing(answer["disks"][target], int(disk["size_bytes"]))
                for target, disk in fresh.items() if disk["kind"] == BASE}

    async def note(self, disks: dict[str, dict[str, Any]], epoch: int) -> None:
        """Store with each unfinished first copy the checkpoint and offset it can resume from."""
        if disks:
            await self._ask("incoming-open", attempt=self.attempt, disks=disks, epoch=epoch,
                            timeout_s=PUBLISH_S)    # its data is synced first

    async def settle(self, disks: list[str]) -> None:
        """Have everything received of these disks synced and re-read against its hashes."""
        size_bytes = sum(one.size_bytes for one in self._action.disks if one.target in disks)
        await self._ask("incoming-settle", attempt=self.attempt, disks=disks,
                        timeout_s=PUBLISH_S + size_bytes / SLOW_BYTES_S)

    async def drop(self) -> None:
        """Delete everything received in this attempt."""
        await self._ask("incoming-drop", attempt=self.attempt, disks=sorted(self._opened))

    async def publish(self, copy: OpenCopy, disks: dict[str, Any], beyond: set[str],
                      started_at: float, committed_at: float) -> dict[str, Any]:
        """Make what was received a restore point: the commit. Returns the mover's answer.

        `beyond`: disks of which more was sent than the source's bitmap showed as changed; what was
        sent since their checkpoint is then recorded as unknown.

        Errors: OutcomeUnknown when the point may exist: its replica must be observed.
        """
        meta = {"domain.xml": {"text": copy.definition}}
        meta |= {name: {"zlib": part} for name, part in copy.parts.items()}
        facts: dict[str, Any] = {"origins": copy.origins, "run": copy.run}
        if copy.off:
            facts["fingerprints"] = copy.fingerprints
        lacking = list(dict.fromkeys((*self._action.without, *copy.lacking)))
        if lacking:
            facts["without"] = lacking
        if copy.left_out:
            facts["left_out"] = copy.left_out
        facts |= {f"{name}_missing": why for name, why in copy.parts_missing.items()}
        return await self._ask(
            "publish", sequence=self._action.sequence, disks=disks, checkpoint=copy.checkpoint,
            started_at=started_at, committed_at=committed_at, quiesced=copy.quiesced, meta=meta,
            facts=facts, reread="no", attempt=self.attempt, epoch=copy.epoch,
            changed={target: None if target in beyond else disk.changed
                     for target, disk in copy.disks.items()
                     if copy.off and (target in beyond or disk.changed != "")},
            timeout_s=PUBLISH_S)

    async def _ask(self, verb: str, *, timeout_s: float = ANSWER_S,
                   **order: Any) -> dict[str, Any]:
        return await self.session.ask(verb, {"replica": self._action.path, **order},
                                        failed=self._failed, timeout_s=timeout_s)
