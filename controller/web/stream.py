"""The stream: server-sent events with ids, for one page as long as it is open.

    event: rows     the rows that changed since the last one; the first holds all
    event: head     what stands above them
    event: reset    the ids were of another process: forget every row
    event: beat     every 5 s, so that a page knows that it still hears

An id is PROCESS-VERSION. A browser that comes back sends its last one, and is given what it missed.

Where the browser takes gzip, each piece is packed by itself, without looking back: so the pieces of
pages at the same version stay the same bytes, packed once.

Sources: HTML Living Standard, server-sent events; RFC 1951 and 1952.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import lru_cache
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from controller.web.feed import Feed

BEAT_S: Final = 5.0
BLOCKED_S: Final = 30.0
"""A reader that takes nothing for so long is left."""


GZIP: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\x03"
LEVEL: Final = 4
PACKED: Final = 16
"""Packed pieces that are kept."""


class Stream(Response):
    """Sends events until the page goes, or takes nothing any more."""

    media_type = "text/event-stream"

    def __init__(self, feed: Feed, head: Callable[[], bytes], last_id: str) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        self._feed, self._head, self._last_id = feed, head, last_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until either end is over."""
        headers = [one for one in self.raw_headers if one[0] != b"content-length"]
        accepted = b",".join(value for name, value in scope.get("headers", ())
                             if name == b"accept-encoding")
        pack = b"gzip" in accepted
        headers += [(b"content-encoding", b"gzip")] * pack + [(b"vary", b"accept-encoding")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        gone = asyncio.create_task(left(receive))
        sending = asyncio.create_task(self._send(send, pack=pack))
        try:
            await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, sending):
                task.cancel()
                with suppress(asyncio.CancelledError, TimeoutError, OSError):
                    await task

    async def _send(self, send: Send, *, pack: bool) -> None:
        first = GZIP
        async for said in self.pieces():
            piece, first = (first + packed(said), b"") if pack else (said, first)
            async with asyncio.timeout(BLOCKED_S):
                await send({"type": "http.response.body", "body": piece, "more_body": True})

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield events for ever."""
        began, _, number = self._last_id.partition("-")
        known = began == self._feed.began and number.isdigit()
        version = int(number) if known else 0
        yield b"" if known or not self._last_id else b"event: reset\ndata: {}\n\n"
        said = b""
        while True:
            beats = self._feed.beats
            newest, rows = self._feed.piece(version)
            if newest != version or not known:
                version, known = newest, True
                yield event("rows", rows, f"{self._feed.began}-{version}")
            if (head := self._head()) != said:
                said = head
                yield event("head", head)
            while not await self._feed.news(beats, BEAT_S):
                yield event("beat", b"{}")


@lru_cache(maxsize=PACKED)
def packed(piece: bytes) -> bytes:
    """Return a piece as whole deflate blocks that need nothing before them."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH)


def event(name: str, data: bytes, number: str = "") -> bytes:
    """Return one event; `data` has no line breaks."""
    line = f"id: {number}\n".encode() if number else b""
    return b"event: " + name.encode() + b"\n" + line + b"data: " + data + b"\n\n"


async def left(receive: Receive) -> None:
    """Return when the page has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
