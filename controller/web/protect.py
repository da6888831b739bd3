"""What stands before every route: who may ask, and what a browser may do with the answer.

Rule 1: the page answers only under its own names: a page of another site, whose name was made to
        lead here (DNS rebinding), is refused.
Rule 2: who may not read is told nothing but how to sign in.
Rule 3: GET and HEAD change nothing. Any other request has a body of 64 KiB at most, within
        10 s; where the browser would say by itself who asks, a page of ours must have made it ask.
Rule 4: a browser loads scripts, styles, fonts and data from here alone, and frames it nowhere.

Rule 5: a webhook is no person: it is believed by its signature alone (hooks.py).

What a person may do beyond reading is asked by each act (acts.py).
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from typing import Final

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.errors import SpecError
from controller.web.access.limits import Limit
from controller.web.access.people import (
    NOBODY,
    Caller,
    Rules,
    address_of,
    among,
    asker_of,
    caller_of,
    of_our_page,
)
from controller.web.access.tokens import Person, Right
from controller.web.hooks import HOOK_BYTES, Hooks
from controller.web.hooks import PATH as HOOK

HEADERS: Final = tuple((name.encode(), value.encode()) for name, value in {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self';"
                               " font-src 'self'; connect-src 'self'; img-src 'self';"
                               " base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}.items())
BODY_BYTES: Final = 64 << 10
BODY_S: Final = 10.0
TRIES: Final = 10
"""Tokens that an address may offer in a minute, the known ones aside."""
SAFE: Final = frozenset({"GET", "HEAD"})
SIGN_IN: Final = "/sign-in"
OPEN: Final = (SIGN_IN, "/static/", "/api/v1/healthz")
CALLER: Final = "hotsite.caller"


class Gate:
    """Proves tokens, seldom enough that nobody can guess."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._limit = Limit(TRIES)
        self._proven: dict[str, tuple[bytes, Person]] = {}

    async def prove(self, token: str, address: str) -> tuple[Person | None, float]:
        """Return whom a token proves; and where too many were tried, after how long to try.

        Errors: SpecError.
        """
        digest = hashlib.sha256(token.encode()).digest()
        name = token.partition(".")[0]
        known = self._proven.get(name)
        if known and known == (digest, self.rules.tokens.persons().get(name)):
            return known[1], 0.0
        if wait_s := self._limit.take(address, time.monotonic()):
            return None, wait_s
        person = await asyncio.to_thread(self.rules.tokens.check, token)
        if person is not None:
            self._proven[name] = digest, person
        return person, 0.0


class Refusal(Exception):
    """A request that is not passed on: its status and sentence."""

    def __init__(self, status: int, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, headers


class Protect:
    """Refuses what may not ask, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, gate: Gate, clock: Callable[[], float] = time.time,
                 hooks: Hooks | None = None) -> None:
        self._app, self._gate, self._clock, self._hooks = app, gate, clock, hooks

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

        try:
            receive = await self._checked(scope, receive)
        except Refusal as refusal:
            await refuse(guarded, refusal)
            return
        await self._app(scope, receive, guarded)

    async def _checked(self, scope: Scope, receive: Receive) -> Receive:
        """Return where the body of a request is read that may be passed on.

        Errors: Refusal.
        """
        method, path = scope["method"], scope["path"]
        rules = self._gate.rules
        if host_of(scope) not in rules.names:
            raise Refusal(421, f"This page answers under {', '.join(sorted(rules.names))} only")
        headers = headers_of(scope)
        if path == HOOK and method == "POST" and self._hooks is not None:
            return await self._hook(scope, headers, receive)
        address = (scope.get("client") or [""])[0]
        caller = scope[CALLER] = await self._caller(headers, address)
        if Right.READ not in caller.person.rights and not path.startswith(OPEN):
            if path.startswith("/api/") or method not in SAFE:
                raise Refusal(401, "Who asks may not read here: send a token, or sign in",
                              **{"www-authenticate": "Bearer"})
            raise Refusal(303, "Sign in first", location=SIGN_IN)
        if method in SAFE:
            return receive
        # a proxy may speak TLS with the browser, and not with us
        schemes = {scope["scheme"], "https" if among(address, rules.proxies) else scope["scheme"]}
        if (caller.ambient or path == SIGN_IN or "origin" in headers) and not of_our_page(
                headers, *schemes):
            raise Refusal(403, "This did not come from a page of ours, so nothing was done")
        return await bounded(headers, receive)

    async def _hook(self, scope: Scope, headers: dict[str, str], receive: Receive) -> Receive:
        """Return where a hook's body is read: its signature says who asks, whatever else does.

        Errors: Refusal.
        """
        assert self._hooks is not None, "there is a secret"
        scope[CALLER] = Caller(NOBODY)
        try:
            # no proxy signs a forge in: a person's name would be the sender's own word
            self._hooks.admit(address_of(headers, (scope.get("client") or [""])[0],
                                         self._gate.rules))
        except HTTPException as error:
            raise Refusal(error.status_code, str(error.detail), **(error.headers or {})) from error
        return await bounded(headers, receive, HOOK_BYTES)

    async def _caller(self, headers: dict[str, str], address: str) -> Caller:
        try:
            caller = caller_of(headers, address, self._gate.rules, self._clock())
            if caller.forged:
                raise Refusal(403, f"The header {self._gate.rules.proxy_header} is believed from"
                              " the proxy alone")
            if not caller.bearer:
                return caller
            person, wait_s = await self._gate.prove(
                caller.bearer, asker_of(headers, address, self._gate.rules))
        except SpecError as error:
            raise Refusal(503, str(error)) from error
        if wait_s:
            raise Refusal(429, "Too many tokens were tried: wait a minute",
                          **{"retry-after": str(int(wait_s) + 1)})
        if person is None:
            raise Refusal(401, "The token is not known", **{"www-authenticate": "Bearer"})
        return Caller(person)


async def bounded(headers: dict[str, str], receive: Receive,
                  most_bytes: int = BODY_BYTES) -> Receive:
    """Read a body whole, and return where it is read again.

    Errors: Refusal: it is too long, or slow.
    """
    length = headers.get("content-length", "0")
    body = b""
    try:
        async with asyncio.timeout(BODY_S):
            more = not (length.isdigit() and int(length) > most_bytes)
            while more and len(body) <= most_bytes:
                message = await receive()
                body += message.get("body", b"")
                if message["type"] == "http.disconnect":
                    raise Refusal(400, "The request ended early")
                more = bool(message.get("more_body"))
    except TimeoutError:
        raise Refusal(408, f"The request took longer than {BODY_S:g} s to arrive") from None
    if len(body) > most_bytes or (length.isdigit() and int(length) > most_bytes):
        raise Refusal(413, f"The request is longer than {most_bytes >> 10} KiB")
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        """Return the body once, then what comes after it."""
        return left.pop() if left else await receive()
    return again


def caller_in(scope: Scope) -> Caller:
    """Return who makes a request that was passed on."""
    caller = scope.get(CALLER, Caller(NOBODY))
    assert isinstance(caller, Caller), "only we write there"
    return caller


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the headers of a request; of those that come twice the last, which a proxy added."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def host_of(scope: Scope) -> str:
    """Return the name that the request asked for, without its port; empty if there is not one."""
    found = [value for name, value in scope["headers"] if name == b"host"]
    if len(found) != 1:
        return ""
    host: str = found[0].decode("latin-1").lower()
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


async def refuse(send: Send, refusal: Refusal) -> None:
    """Answer with a problem document."""
    body = json.dumps({"type": "about:blank", "title": "Refused", "status": refusal.status,
                       "detail": refusal.sentence}).encode()
    await send({"type": "http.response.start", "status": refusal.status, "headers": [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        *((name.encode(), value.encode()) for name, value in refusal.headers.items())]})
    await send({"type": "http.response.body", "body": body})
