"""The JSON gateway of an etcd cluster: one question, to each member in turn until one answers.

A member that answered last is asked first next time, so that a dead one costs its time limit once.
Every question here is decided by the cluster's majority, whichever member is asked, and may be
repeated at another member when its answer was lost: the callers compare before they write.
"""

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final

from controller.errors import OutcomeUnknown, Refused, Unavailable
from controller.transport.http import Answer, HttpClient
from controller.transport.password import Password

UNAUTHENTICATED: Final = 401
FORBIDDEN: Final = 403
NOBODY: Final = "etcdserver: user name is empty"
"""What etcd 3.4 says, with 400, to a question without a token."""
WRONG: Final = 300
ASK_ANOTHER: Final = 500
"""From this status on the member, not the question, is at fault."""


class Gateway:
    """The members of one cluster; `members` by address, in the order in which they are asked."""

    def __init__(self, members: Mapping[str, HttpClient],
                 password: Callable[[], Password] | None = None) -> None:
        self._members = dict(members)
        self._order = list(members)
        self._password = password
        self._token: str | None = None

    async def ask(self, path: str, question: dict[str, Any]) -> dict[str, Any]:
        """Return the answer of the first member that gives one.

        Errors: Unavailable or OutcomeUnknown, with what each member said; Refused.
        """
        said, may_be_done = [], False
        for endpoint in tuple(self._order):
            try:
                answer = await self._ask_member(endpoint, path, question)
            except Unavailable as error:
                said.append(str(error))
                continue
            except OutcomeUnknown as error:
                said.append(str(error))
                may_be_done = True
                continue
            self._order.remove(endpoint)
            self._order.insert(0, endpoint)
            return answer
        sentence = "no member of etcd answers: " + "; ".join(said)
        raise OutcomeUnknown(sentence) if may_be_done else Unavailable(sentence)

    async def close(self) -> None:
        """Close every connection."""
        for member in self._members.values():
            await member.close()

    async def _ask_member(self, endpoint: str, path: str,
                          question: dict[str, Any]) -> dict[str, Any]:
        """Ask one member, and log in where it wants that."""
        if self._password is not None and self._token is None:
            self._token = await self._log_in(endpoint, self._password())
        answer = await self._post(endpoint, path, question)
        if self._password is not None and answer.status == UNAUTHENTICATED:     # it was too old
            self._token = await self._log_in(endpoint, self._password())
            answer = await self._post(endpoint, path, question)
        return understood(endpoint, answer)

    async def _log_in(self, endpoint: str, password: Password) -> str:
        """Return a token; errors as `ask`."""
        answer = await self._told(endpoint, "/v3/auth/authenticate", {}, {
            "name": password.username, "password": password.password})
        if answer.status >= ASK_ANOTHER:
            raise Unavailable(f"{endpoint} answered a login with {answer.status}")
        try:
            return str(answer.content()["token"])
        except (ValueError, KeyError, TypeError):
            raise Refused(f"etcd at {endpoint} refused the login of {password.username}: look at"
                          " its credentials") from None

    async def _post(self, endpoint: str, path: str, question: dict[str, Any]) -> Answer:
        headers = {} if self._token is None else {"Authorization": self._token}
        return await self._told(endpoint, path, headers, question)

    async def _told(self, endpoint: str, path: str, headers: Mapping[str, str],
                    content: dict[str, Any]) -> Answer:
        """Return a member's answer.

        Errors: Unavailable for one that is not believed, too: it was told nothing, and the others
        may be who they should be.
        """
        try:
            return await self._members[endpoint].ask("POST", path, headers=headers,
                                                     content=content)
        except Refused as error:
            raise Unavailable(str(error)) from error


def understood(endpoint: str, answer: Answer) -> dict[str, Any]:
    """Return an answer as JSON.

    Errors: OutcomeUnknown for a member that is at fault; Refused for a question that etcd refuses.
    """
    try:
        content = answer.content()
    except ValueError:
        content = None
    status = answer.status
    if not isinstance(content, dict):
        raise OutcomeUnknown(f"{endpoint} answered with {status} and no JSON")
    why = content.get("error")
    if status >= ASK_ANOTHER:
        raise OutcomeUnknown(f"{endpoint} answered with {status}: {why}")
    if status in {UNAUTHENTICATED, FORBIDDEN} or why == NOBODY:
        raise Refused(f"etcd at {endpoint} lets this controller do nothing ({why}): look at its"
                      " credentials and at what its role may write")
    if status >= WRONG:
        raise Refused(f"etcd at {endpoint} refused the question: {status}, {why}")
    return content


def encoded(text: str) -> str:
    """Return a key or value as the gateway takes it."""
    return base64.b64encode(text.encode()).decode()


def decoded(text: str) -> str:
    """Return a key or value as it was written.

    Errors: ValueError.
    """
    return base64.b64decode(text, validate=True).decode()
