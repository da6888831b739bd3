"""
The source end of a copy of a VM that is off: which record of changes may be believed, and what is.

The checkpoint of the last point stays the base of the next only if each disk that has such a record
was read by it: another record of that name, or none, tells nothing of what the point holds.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List

from mover.backup import offline
from mover.backup.backup_job import INCREMENT, clients, part_with_clients
from mover.backup.definition import papers
from mover.backup.origins import are_those, fingerprint_of, is_settled, origin_of
from mover.backup.reading import ELSEWHERE, Begin, Copy, measured, size_of
from mover.backup.virsh import Seen, VirshError, state_of
from mover.errors import TryAgain

CLEAN = ("shut off", "shutdown")
SAVED = ("it was saved with its memory, which lies in a managed save and is not in the point: its"
         " disks are those of a guest that was cut off")


class ColdCopy(Copy):
    """The disks of a VM that is off."""

    def __init__(self, seen: Seen, wanted: Begin) -> None:
        domain = seen.domain
        self._domain, self._state = domain, (seen.state, seen.reason)
        self._origins = {target: origin_of(domain.disks[target]) for target in wanted.modes}
        before = offline.traces(domain, self._origins)
        self._why: Dict[str, str] = {}
        begun_at = time.monotonic()
        self._same = self._unchanged(wanted)
        self._open = offline.serve(domain, [target for target in sorted(wanted.modes)
                                         if target not in self._same], self._records(wanted))
        try:
            self._leave_out()
            self._before = (domain.id, {target: before[target] for target in self._origins})
            disks = {target: self._disk(target, wanted) for target in sorted(self._origins)}
            why = unquiesced(*self._state)
            self.told = {
                "state": "off", "checkpoint": self._base(wanted, disks), "quiesced": not why,
                "unquiesced_because": why, "disks": disks, "run": "",
                "fingerprints": {target: told for target, told in self._fingerprints().items()
                                 if is_settled(told)},
                "origins": {target: one.told() for target, one in sorted(self._origins.items())},
                **papers(seen), "left_out": self._open.left,
                "ago_s": round(time.monotonic() - begun_at, 3)}
        except BaseException:
            offline.stop(self._open)
            raise

    def _leave_out(self) -> None:
        """Leave out the disks that cannot be opened, while there are others."""
        left = self._open.left
        self._origins = {target: one for target, one in self._origins.items()
                         if target not in left}
        if not self._origins:
            raise TryAgain("no disk of %s can be read: %s" % (
                self._domain.name, "; ".join("%s: %s" % one for one in sorted(left.items()))))

    def _fingerprints(self) -> Dict[str, List[List[Any]]]:
        found = {target: fingerprint_of(one) for target, one in sorted(self._origins.items())}
        return {target: told for target, told in found.items() if told is not None}

    def _unchanged(self, wanted: Begin) -> "set[str]":
        """Return the disks that are surely what they were at the last point."""
        if self._state != CLEAN:
            return set()
        return {target for target, told in self._fingerprints().items()
                if wanted.known.get(target) == told}

    def _records(self, wanted: Begin) -> Dict[str, str]:
        """Return by target the bitmap that may be believed, if it is there and whole."""
        records = {}
        for target, mode in sorted(wanted.modes.items()):
            known = are_those(wanted.origins.get(target), self._origins[target], same_run=False)
            if mode == INCREMENT and wanted.since and not wanted.unbroken:
                records[target] = wanted.since if known else ""
                self._why[target] = "its change tracking is lost" if known else ELSEWHERE
        return records

    def _disk(self, target: str, wanted: Begin) -> Dict[str, Any]:
        if target in self._same:
            size = size_of(self._domain.disks[target])
            return {"mode": INCREMENT, "why": "", "size_bytes": size, "dirty_bytes": 0,
                    "changed": wanted.sent.get(target, "")}
        bitmap = self._open.bitmaps[target]
        return measured(self._open.sockets[target], target, bitmap, wanted.sent.get(target, ""),
                        "" if bitmap else self._why.get(target, ""), at_rest=True)

    def _base(self, wanted: Begin, disks: Dict[str, Dict[str, Any]]) -> str:
        """Return the checkpoint that tells what comes to differ from what is read now."""
        return wanted.since if all(
            target in self._same or told["bitmap"] for target, told in disks.items()
            if self._domain.disks[target].tracked) else ""

    def end(self) -> Dict[str, Any]:
        """Stop the servers; what was read counts only if the VM was off all the while."""
        uuid = self._domain.uuid
        for socket in self._open.sockets.values():
            if clients(socket):
                part_with_clients(socket, uuid)
        offline.stop(self._open)
        try:
            off = state_of(uuid) == self._state
        except VirshError:
            off = False
        now = {target: origin_of(self._domain.disks[target]) for target in self._origins}
        after = ("" if off else "started", offline.traces(self._domain, now))
        moved = not offline.unmoved(self._before, after)
        return {"reason": "asked", "was": "moved" if moved else "ended", "incident": ""}


def unquiesced(state: str, reason: str) -> str:
    """Return why the disks of a VM that is off are not as a clean shutdown leaves them, or ""."""
    if (state, reason) == CLEAN:
        return ""
    if reason == "saved":
        return SAVED
    return "it was not shut down as far as libvirt knows, which says %s (%s)" % (
        state, reason or "unknown")
