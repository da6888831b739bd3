"""The feed: one look at the store serves every page, and each page is told what changed for it.

A look is taken four times a second, and costs nothing where nothing was written. Whoever waits is
woken with the new version, takes the rows above the version that it has, and waits again. So a
page has no queue: one that reads slowly is given fewer and larger pieces, each row once, and one
that does not read at all holds one piece and is closed by its own time limit.

The pieces of pages at the same version are the same bytes, and are made once.

A store that cannot be read is said, and tried again at each look; what was read before stays.
"""

import asyncio
import json
import secrets
from typing import Any, Final

from controller.errors import JournalUnavailable
from controller.reconcile.inspect.desk import Desk

LOOK_S: Final = 0.25
PIECES: Final = 16
"""Pieces that are kept for pages which are behind by the same."""


class Feed:
    """Keeps a desk up to date, and wakes those who wait for what is new."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.began = secrets.token_hex(4)
        """Names this process: versions of another one mean nothing here."""
        self.beats = 0
        self.fault = ""
        """Why the store cannot be read now; empty while it can."""
        self._news = asyncio.Condition()
        self._pieces: dict[tuple[int, int], bytes] = {}

    def look(self) -> bool:
        """Look at the store once; return whether anything is new."""
        before = self.fault
        try:
            changed = self.desk.refresh()
            self.fault = ""
        except JournalUnavailable as error:
            changed, self.fault = False, str(error)
        self.beats += changed
        return changed or before != self.fault

    async def keep(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            if self.look():
                async with self._news:
                    self._news.notify_all()
            await asyncio.sleep(LOOK_S)

    async def news(self, beats: int, limit_s: float) -> bool:
        """Wait until there is more than `beats`, at most `limit_s`; return whether there is."""
        try:
            async with asyncio.timeout(limit_s), self._news:
                await self._news.wait_for(lambda: self.beats > beats)
        except TimeoutError:
            return False
        return True

    def piece(self, version: int) -> tuple[int, bytes]:
        """Return the newest version, and the rows above `version` as JSON."""
        key = version, self.desk.version
        if key not in self._pieces:
            if len(self._pieces) >= PIECES:
                self._pieces.clear()
            self._pieces[key] = as_json(self.desk.since(version))
        return self.desk.version, self._pieces[key]


def as_json(value: Any) -> bytes:
    """Return a value as compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False,
                      allow_nan=False).encode()
