"""
Whether a drilled guest serves, as its policy declares: it runs, has booted, and its agent, its port
or a ping answers.

What goes over the network is asked by the drill's prober. Where that cannot ask, or proves nothing,
the guest has booted, and is not called proven.
"""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any, Dict, List, Optional

from mover.backup.virsh import VirshError, virsh
from mover.drill.calls import Calls
from mover.drill.remains import folder_of

PING = json.dumps({"execute": "guest-ping"})
VIRSH_S = 10
ALIVE_S = 2.0           # where nothing is declared: it has run for so long


class Judge:
    """One guest of a drill, from its start until it is proven or given up."""

    def __init__(self, root: str, uuid: str, health: Dict[str, Any], begun: float,
                 left_out: List[str], calls: Calls, absent: str = "") -> None:
        self.root, self.uuid, self.health, self.left_out = root, uuid, health, left_out
        self._calls, self._absent, self._booted = calls, absent, False
        self._begun, self._running = begun, time.monotonic()
        self.start_s = round(self._running - begun, 2)
        self.serves_s: Optional[float] = None
        self.outcome, self.sentence = "", ""
        self._lacks: List[str] = ["nothing of it was seen yet"]

    @property
    def over(self) -> bool:
        """Return whether it is decided."""
        return self.outcome != ""

    def end(self, outcome: str, sentence: str) -> None:
        """Decide it, if it is not decided."""
        if not self.outcome:
            self.outcome, self.sentence = outcome, sentence

    def look(self) -> None:
        """Look once more."""
        if self.over:
            return
        try:
            state = virsh("domstate", self.uuid, patience_s=VIRSH_S).strip()
        except VirshError as error:
            if "failed to get domain" in str(error):
                self.end("unhealthy", "it ended by itself %.1f s after its start"
                         % (time.monotonic() - self._running))
            else:
                self._lacks = [str(error)]
            return
        self._lacks = list(self._missing(state))
        if not self._lacks:
            self.serves_s = round(time.monotonic() - self._begun, 2)
            self.end("booted" if self._calls.why_unasked else "proven", self._said())

    def finish(self) -> None:
        """Decide it, if it is not decided: the time is over."""
        word = "unhealthy" if any("it is paused" in one for one in self._lacks) else "unproven"
        lacks = [*self._lacks, "it was waited for %.0f s" % (time.monotonic() - self._running)]
        if self._absent and self._booted:       # it may well be that it only misses them
            word, lacks = "booted", ["it runs and reads of its disks", *lacks,
                                     "without " + self._absent]
        self.end(word, "; ".join(lacks))

    def _missing(self, state: str) -> List[str]:
        ran_s, found = time.monotonic() - self._running, []
        if state != "running":
            found.append("it is %s" % state)
        asks = self.health.get("agent") or self._calls.questions
        wanted_s = float(self.health.get("boots_s") or (0 if asks else ALIVE_S))
        if ran_s < wanted_s:
            found.append("it has not run for %g s yet" % wanted_s)
        elif not self._has_read():
            found.append("it has not read of its disks")
        self._booted = not found
        if self.health.get("agent"):
            try:
                virsh("qemu-agent-command", self.uuid, PING, "--timeout", "2", patience_s=VIRSH_S)
            except VirshError:
                found.append("its guest agent does not answer")
        return found + (self._calls.lacking() if state == "running" else [])

    def _has_read(self) -> bool:
        try:
            told = virsh("domstats", "--nowait", "--block", self.uuid, patience_s=VIRSH_S)
        except VirshError:
            return False
        return any(map(int, re.findall(r"\bblock\.[0-9]+\.rd\.reqs=([0-9]+)", told)))

    def _said(self) -> str:
        said = ["its guest agent answers"] if self.health.get("agent") else []
        if not said and (self._calls.why_unasked or not self._calls.wanted):
            said = ["it runs and reads of its disks"]
        return "; ".join(said + self._calls.said())

    def grown_bytes(self) -> int:
        """Return what the guest's overlays take up."""
        total = 0
        try:
            with os.scandir(folder_of(self.root)) as entries:
                for entry in entries:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
        except FileNotFoundError:
            return 0
        return total
