"""The target end of a restore point: what comes of each disk, until it is published.

Rule 1: until `publish` is asked for, nothing that was published has changed.
"""

import secrets
from typing import Any, Final

from controller.model.replica import CLUSTER_BYTES
from controller.plan.actions.replica import ReplicateDomain
from controller.replication.copy_plan import BASE, Ranges
from controller.replication.mover import Attendant
from controller.replication.replica_state import ReplicaState, parse_picture
from controller.replication.source_host import Begun

ANSWER_S: Final = 60.0
PUBLISH_S: Final = 3600.0
SLOW_BYTES_S: Final = 50e6
"""What a disk that has come is read again with at least, to see that it is what was sent."""


def parse_missing(told: dict[str, Any], size_bytes: int) -> Ranges:
    """Return what has not come of a base; from where there is too much to list, all to its end.

    Errors: KeyError, TypeError or ValueError for an answer of another shape.
    """
    missing = [(int(first) * CLUSTER_BYTES, int(count) * CLUSTER_BYTES)
               for first, count in told["missing"]]
    if int(told["missing_ranges"]) > len(missing):
        missing[-1] = (missing[-1][0], size_bytes - missing[-1][0])
    return tuple(missing)


class TargetEnd:
    """Orders to the mover that keeps a VM's replica; `failed` begins every complaint.

    Rule: what comes does so under an id of this attempt; the other end takes nothing of another.
    """

    def __init__(self, attendant: Attendant, action: ReplicateDomain, failed: str) -> None:
        self.attendant = attendant
        self._action, self._failed = action, failed
        self._opened: set[str] = set()
        self.attempt = secrets.token_hex(8)

    async def look(self, estate: str) -> ReplicaState:
        """Return the replica as it is now; it is made where there is none."""
        return parse_picture(await self._ask(
            "replica-make", vm=self._action.uuid, algorithm="xxh3-128",
            facts={"machine": self._action.machine, "estate": estate}))

    async def open(self, disks: dict[str, dict[str, Any]]) -> dict[str, Ranges]:
        """Make room for what comes of each disk: its kind and size in bytes; once for each.

        Returns what has not come yet of each base that was opened now, in bytes.
        """
        fresh = {target: disk for target, disk in disks.items() if target not in self._opened}
        if not fresh:
            return {}
        told = await self._ask("incoming-open", attempt=self.attempt, disks=fresh)
        self._opened |= set(fresh)
        return {target: parse_missing(told["disks"][target], int(disk["size_bytes"]))
                for target, disk in fresh.items() if disk["kind"] == BASE}

    async def note(self, disks: dict[str, dict[str, Any]]) -> None:
        """Note with what has come of each disk from where it can be gone on with."""
        if disks:
            await self._ask("incoming-open", attempt=self.attempt, disks=disks,
                            timeout_s=PUBLISH_S)    # it is synced

    async def settle(self, disks: list[str]) -> None:
        """See that all that came of these disks is on stable storage and is what was sent."""
        size_bytes = sum(one.size_bytes for one in self._action.disks if one.target in disks)
        await self._ask("incoming-settle", attempt=self.attempt, disks=disks,
                        timeout_s=PUBLISH_S + size_bytes / SLOW_BYTES_S)

    async def drop(self) -> None:
        """Let go of all that has come."""
        await self._ask("incoming-drop", attempt=self.attempt, disks=sorted(self._opened))

    async def publish(self, begun: Begun, disks: dict[str, Any], beyond: set[str],
                      started_at: float, committed_at: float) -> dict[str, Any]:
        """Make what has come a restore point and return what it takes.

        Of disks `beyond` the source's record of changes nobody can say what was sent since.

        Errors: OutcomeUnknown when it may be one, and its replica must be looked at.
        """
        meta = {"domain.xml": {"text": begun.definition}}
        if begun.nvram is not None:
            meta["nvram"] = {"zlib": begun.nvram}
        facts: dict[str, Any] = {"origins": begun.origins, "run": begun.run}
        if begun.off:
            facts["fingerprints"] = begun.fingerprints
        lacking = list(dict.fromkeys((*self._action.without, *begun.lacking)))
        if lacking:
            facts["without"] = lacking
        if begun.left_out:
            facts["left_out"] = begun.left_out
        if begun.nvram_missing:
            facts["nvram_missing"] = begun.nvram_missing
        return await self._ask(
            "publish", sequence=self._action.sequence, disks=disks, checkpoint=begun.checkpoint,
            started_at=started_at, committed_at=committed_at, quiesced=begun.quiesced, meta=meta,
            facts=facts, reread="no", attempt=self.attempt,
            changed={target: None if target in beyond else disk.changed
                     for target, disk in begun.disks.items()
                     if begun.off and (target in beyond or disk.changed != "")},
            timeout_s=PUBLISH_S)

    async def _ask(self, verb: str, *, timeout_s: float = ANSWER_S,
                   **order: Any) -> dict[str, Any]:
        return await self.attendant.ask(verb, {"replica": self._action.path, **order},
                                        failed=self._failed, timeout_s=timeout_s)
