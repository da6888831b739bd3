"""What stands before every route: who may ask, and what a browser may do with the answer.

Rule 1: the page listens on loopback, and answers only where the request names it so: a page of
        another site, whose name was made to lead here (DNS rebinding), is refused.
Rule 2: nothing is changed by it: other methods than GET and HEAD are refused.
Rule 3: a browser loads scripts, styles, fonts and data from here alone, and frames it nowhere.
"""

import json
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS: Final = tuple((name.encode(), value.encode()) for name, value in {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self';"
                               " font-src 'self'; connect-src 'self'; img-src 'self';"
                               " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}.items())
NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Protect:
    """Refuses what may not ask, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            """Send with our headers."""
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        if scope["method"] not in {"GET", "HEAD"}:
            await refuse(guarded, 405, "Only GET and HEAD are answered: this page shows, and"
                         " changes nothing")
        elif host_of(scope) not in NAMES:
            await refuse(guarded, 421, "This page answers under 127.0.0.1, [::1] and localhost"
                         " only")
        else:
            await self._app(scope, receive, guarded)


def host_of(scope: Scope) -> str:
    """Return the name that the request asked for, without its port; empty if there is not one."""
    found = [value for name, value in scope["headers"] if name == b"host"]
    if len(found) != 1:
        return ""
    host: str = found[0].decode("latin-1").lower()
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


async def refuse(send: Send, status: int, sentence: str) -> None:
    """Answer with a problem document."""
    body = json.dumps({"type": "about:blank", "title": "Refused", "status": status,
                       "detail": sentence}).encode()
    await send({"type": "http.response.start", "status": status, "headers": [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
