"""Brings one disk after another to the target: from host to host, or through here if it must be."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from controller.plan.replica_actions import ReplicateDomain
from controller.replication.choice import time_limit_s
from controller.replication.mover import Mover, NotLetIn
from controller.replication.passage import Locksmith
from controller.replication.progress import OnProgress, Progress, expected_s
from controller.replication.reach import Reach
from controller.replication.sending import (
    Hearer,
    Pace,
    Sent,
    Terms,
    relay,
    send,
)
from controller.replication.shares import Shares
from controller.transport.base import Endpoint


@dataclass(frozen=True, slots=True)
class Way:
    """Both ends of a copy, and what they share."""

    source: Mover
    target: Mover
    endpoint: Endpoint
    """Of the target."""
    locksmith: Locksmith
    terms: Terms
    shares: Shares


class Carrier:
    """Carries the disks of one restore point, within its share of every limit."""

    def __init__(self, action: ReplicateDomain, way: Way, failed: str,
                 clock: Callable[[], float], on_progress: OnProgress) -> None:
        self._action, self._way, self._failed = action, way, failed
        self._clock, self._on_progress = clock, on_progress
        self.relayed = ""
        """Why the rest goes through the controller; empty while it does not."""

    async def carry(self, request: dict[str, Any], reach: Reach,
                    on_read: Callable[[], None]) -> Sent:
        """Send one disk; `on_read` is called once it is no longer needed.

        Errors: as `send`; a target that cannot be reached, or does not let the source in, is none,
        for it is relayed to.
        """
        way, pace, hearer = self._way, Pace(), Hearer(self._telling(), on_read)
        lasts_s = time_limit_s(self._action)
        with way.shares.taken(way.terms.limits, pace.set):
            if not self.relayed:
                try:
                    return await send(await reach.sender(), request, self._failed, pace, hearer,
                                      lasts_s=lasts_s)
                except NotLetIn as error:
                    self.give_way(error)
            return await relay(way.source, way.target, self._action.path, self._action.uuid,
                               request, self._failed, pace, hearer, lasts_s=lasts_s)

    def give_way(self, error: NotLetIn) -> None:
        """Send through the controller from now on, and say why."""
        self.relayed = (f"{self._way.source.name} cannot reach {self._action.to} at"
                        f" {self._action.to_replication_address} ({error})")

    def _telling(self) -> Callable[[int, int, int], None]:
        """Return what turns a transfer's bytes into progress."""
        began_at = self._clock()

        def _told(done: int, total: int, wire: int) -> None:
            since_s = self._clock() - began_at
            self._on_progress(Progress(self._action.target, done, total,
                                       wire / since_s if since_s > 0 else 0.0,
                                       expected_s(done, total, since_s)))
        return _told
