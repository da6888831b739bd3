"""
A BMC, as one who is logged in sees it.

    first request ─► the service's root, which is open to all
                       │ names a place for sessions ─► log in ─► 201, a token: logged out at the end
                       │                                 └► 401, 400, 403: REFUSED, from now on
                       └ names none ─► name and password with each request (Basic)
                                                         └► 401: REFUSED, from now on

Why the root first: a service without sessions answers 401 to whoever tries to open one, which looks
like a wrong password.

Rule 1: a password that was refused is never sent again. BMCs lock an account after a few wrong
        ones, and a person needs it in the same night. A new client is made only when the spec or
        the file of the password has changed (`bmc.py`).
Rule 2: with a token that was good, 401 means that the session has ended: once more with a new one.
Rule 3: sessions are few: what was opened is closed. Where all are taken, there is still Basic.
Rule 4: an answer without sense proves nothing, and is no reason to stop asking: Unavailable.
"""

import asyncio
import base64
from contextlib import suppress
from typing import Any, Final

from controller.errors import ActionError, Refused, Unavailable
from controller.providers.redfish.parse import (
    message_ids,
    parse_complaint,
    parse_sessions_path,
)
from controller.transport.http import Answer, HttpClient
from controller.transport.password import Password

ROOT: Final = "/redfish/v1/"
CLOSED: Final = frozenset({401, 403, 404, 405})
"""Answers of a root that is open to nobody, or of no use."""
NO_SESSIONS: Final = frozenset({404, 405, 410, 501})
WRONG_PASSWORD: Final = frozenset({400, 401, 403})
ALL_TAKEN: Final = frozenset({"CreateLimitReachedForResource", "SessionLimitExceeded"})
ODATA: Final = {"OData-Version": "4.0"}
LOG_OUT_S: Final = 3.0


class NotThere(Unavailable):
    """The BMC knows of nothing at that path."""


class RedfishClient:
    """Asks one BMC; `name` is what messages call it."""

    def __init__(self, name: str, http: HttpClient, password: Password) -> None:
        self.name = name
        self._http = http
        self._password = password
        self._auth: dict[str, str] = {}
        self._session = ""
        self._refused = ""

    async def get(self, path: str) -> Any:
        """Return the JSON at a path.

        Errors: Refused, Unavailable; ValueError for an answer that is no JSON.
        """
        answer = await self._ask("GET", path, None)
        if answer.status == 404:
            raise NotThere(f"{self.name} knows of nothing at {path}")
        if answer.status != 200:
            raise Unavailable(f"{self.name} answers {describe(answer)}")
        return read_json(answer)

    async def post(self, path: str, content: Any) -> Answer:
        """Send a change and return the answer, whatever its status.

        Errors: Refused, Unavailable: nothing was changed; OutcomeUnknown.
        """
        return await self._ask("POST", path, content)

    async def close(self) -> None:
        """Log out, as far as it is listened to, and close the connection."""
        with suppress(ActionError, TimeoutError):
            async with asyncio.timeout(LOG_OUT_S):
                session, self._session = self._session, ""
                if session:
                    await self._http.ask("DELETE", session, headers={**ODATA, **self._auth})
                self._auth = {}
        await self._http.close()

    async def _ask(self, method: str, path: str, content: Any) -> Answer:
        """Send a request as one who is logged in."""
        had_session = bool(self._session)
        if not self._auth:
            await self._log_in()
        answer = await self._send(method, path, content)
        if answer.status == 401 and had_session:
            self._auth, self._session = {}, ""
            await self._log_in()
            answer = await self._send(method, path, content)
        if answer.status == 401 and not self._session:
            raise self._refuse(answer)
        if answer.status in {401, 403}:
            raise Refused(f"{self.name} does not allow {self._password.username} to do this"
                          f" ({describe(answer)}): give that account the right to it")
        return answer

    async def _send(self, method: str, path: str, content: Any) -> Answer:
        return await self._http.ask(method, path, headers={**ODATA, **self._auth},
                                    content=content)

    async def _log_in(self) -> None:
        """Open a session; where there are none, or none is left, prepare Basic."""
        if self._refused:
            raise Refused(self._refused)
        place = await self._sessions_path()
        if not place:
            self._auth = self._basic()
            return
        told = {"UserName": self._password.username, "Password": self._password.password}
        answer = await self._http.ask("POST", place, headers=ODATA, content=told)
        token = answer.headers.get("x-auth-token", "")
        if answer.status in {200, 201, 202, 204} and token:
            self._auth = {"X-Auth-Token": token}
            self._session = answer.headers.get("location", "") or _named_session(answer)
        elif answer.status in NO_SESSIONS or answer.status < 400 or _all_taken(answer):
            self._auth = self._basic()
        elif answer.status in WRONG_PASSWORD:
            raise self._refuse(answer)
        else:
            raise Unavailable(f"{self.name} lets nobody log in now: {describe(answer)}")

    async def _sessions_path(self) -> str:
        """Return where sessions are opened; empty where that is nowhere."""
        answer = await self._http.ask("GET", ROOT, headers=ODATA)
        if answer.status in CLOSED:
            return ""
        if answer.status != 200:
            raise Unavailable(f"{self.name} answers {describe(answer)}")
        return parse_sessions_path(read_json(answer))

    def _basic(self) -> dict[str, str]:
        """Return the header that bears name and password."""
        pair = f"{self._password.username}:{self._password.password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}

    def _refuse(self, answer: Answer) -> Refused:
        """Remember that the password is wrong."""
        self._auth = {}
        self._refused = (
            f"{self.name} refuses the password of {self._password.username}"
            f" ({describe(answer)}): it is not tried again, so that the account is not locked,"
            f" until {self._password.source[0]} or the spec of its host is written anew")
        return Refused(self._refused)


def read_json(answer: Answer) -> Any:
    """Return the JSON of an answer.

    Errors: ValueError.
    """
    if not answer.body.strip():
        raise ValueError("its answer is empty")
    try:
        return answer.content()
    except ValueError as error:
        raise ValueError("its answer is not Redfish") from error


def _named_session(answer: Answer) -> str:
    """Return the session's path from the body; some name it nowhere else."""
    try:
        content = answer.content()
    except ValueError:
        return ""
    return str(content.get("@odata.id") or "") if isinstance(content, dict) else ""


def _all_taken(answer: Answer) -> bool:
    """Return whether no session is left."""
    try:
        return not ALL_TAKEN.isdisjoint(message_ids(answer.content()))
    except ValueError:
        return False


def describe(answer: Answer) -> str:
    """Return an answer's status, and what it complains about."""
    said = parse_complaint(answer.body)
    return f"HTTP {answer.status}" + (f": {said}" if said else "")
