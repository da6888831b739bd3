"""
A copy of a VM that is off, see offline: which bitmap may be trusted, and which checkpoint stays.

Such a copy makes no checkpoint. The checkpoint of the last point stays the base of the next only if
each disk that has its bitmap was read by that bitmap, or was surely unchanged: another bitmap of
that name, or none, does not know what the point holds.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List

from mover.backup import offline
from mover.backup.backup_job import clients, disconnect_clients
from mover.backup.definition import read_definition
from mover.backup.origins import fingerprint_of, is_same_origin, is_settled, origin_of
from mover.backup.reading import ELSEWHERE, Copy, CopyRequest, measured, size_of
from mover.backup.virsh import DomainStatus, VirshError, state_of
from mover.copy_mode import INCREMENT
from mover.errors import TryAgain

CLEAN = ("shut off", "shutdown")
SAVED = ("it was saved with its memory, which lies in a managed save and is not in the point: its"
         " disks are those of a guest that was cut off")


class OfflineCopy(Copy):
    """The disks of a VM that is off."""

    def __init__(self, status: DomainStatus, request: CopyRequest) -> None:
        domain = status.domain
        self._domain, self._state = domain, (status.state, status.reason)
        self._origins = {target: origin_of(domain.disks[target]) for target in request.modes}
        before = offline.traces(domain, self._origins)
        self._why: Dict[str, str] = {}
        begun_at = time.monotonic()
        self._unchanged = self._surely_unchanged(request)
        self._served = offline.serve(
            domain, [target for target in sorted(request.modes) if target not in self._unchanged],
            self._bitmaps(request))
        try:
            # disks that cannot be opened are left out, while there are others
            left_out = self._served.left_out
            self._origins = {target: one for target, one in self._origins.items()
                             if target not in left_out}
            if not self._origins:
                raise TryAgain("no disk of %s can be read: %s" % (self._domain.name, "; ".join(
                    "%s: %s" % one for one in sorted(left_out.items()))))
            self._before = {target: before[target] for target in self._origins}
            disks = {target: self._disk(target, request) for target in sorted(self._origins)}
            why = unquiesced(*self._state)
            self.begun = {
                "state": "off", "checkpoint": self._base(request, disks), "quiesced": not why,
                "unquiesced_because": why, "disks": disks, "run": "",
                "fingerprints": {target: found for target, found in self._fingerprints().items()
                                 if is_settled(found)},
                "origins": {target: one.record() for target, one in sorted(self._origins.items())},
                **read_definition(status), "left_out": self._served.left_out,
                "ago_s": round(time.monotonic() - begun_at, 3)}
        except BaseException:
            offline.stop(self._served)
            raise

    def _fingerprints(self) -> Dict[str, List[List[Any]]]:
        found = {target: fingerprint_of(one) for target, one in sorted(self._origins.items())}
        return {target: one for target, one in found.items() if one is not None}

    def _surely_unchanged(self, request: CopyRequest) -> "set[str]":
        """Return the disks that are surely what they were at the last point."""
        if self._state != CLEAN:
            return set()
        return {target for target, found in self._fingerprints().items()
                if request.known.get(target) == found}

    def _bitmaps(self, request: CopyRequest) -> Dict[str, str]:
        """Return by target the bitmap to export, of the disks that lie where it was begun."""
        bitmaps = {}
        for target, mode in sorted(request.modes.items()):
            same = is_same_origin(request.origins.get(target), self._origins[target],
                                  same_run=False)
            if mode == INCREMENT and request.since and not request.unbroken:
                bitmaps[target] = request.since if same else ""
                self._why[target] = "its change tracking is lost" if same else ELSEWHERE
        return bitmaps

    def _disk(self, target: str, request: CopyRequest) -> Dict[str, Any]:
        if target in self._unchanged:
            size = size_of(self._domain.disks[target])
            return {"tracked": True, "why": "", "size_bytes": size, "dirty_bytes": 0,
                    "changed": request.sent.get(target, "")}
        bitmap = self._served.bitmaps[target]
        return measured(self._served.sockets[target], target, bitmap, request.sent.get(target, ""),
                        "" if bitmap else self._why.get(target, ""), at_rest=True)

    def _base(self, request: CopyRequest, disks: Dict[str, Dict[str, Any]]) -> str:
        """Return the checkpoint from which the next point can take increments; empty: none."""
        return request.since if all(
            target in self._unchanged or disk["bitmap"] for target, disk in disks.items()
            if self._domain.disks[target].trackable) else ""

    def end(self) -> Dict[str, Any]:
        """Stop the servers; {"was": "moved"} if the VM or its images changed during the copy."""
        uuid = self._domain.uuid
        for socket in self._served.sockets.values():
            if clients(socket):
                disconnect_clients(socket, uuid)
        offline.stop(self._served)
        try:
            off = state_of(uuid) == self._state
        except VirshError:
            off = False
        now = {target: origin_of(self._domain.disks[target]) for target in self._origins}
        unmoved = off and self._before == offline.traces(self._domain, now)
        return {"reason": "asked", "was": "ended" if unmoved else "moved", "incident": ""}


def unquiesced(state: str, reason: str) -> str:
    """Return why the disks of a VM that is off are not as a clean shutdown leaves them, or ""."""
    if (state, reason) == CLEAN:
        return ""
    if reason == "saved":
        return SAVED
    return "it was not shut down as far as libvirt knows, which says %s (%s)" % (
        state, reason or "unknown")
