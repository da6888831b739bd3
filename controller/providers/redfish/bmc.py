"""A host's BMC, reached over Redfish as its spec says.

Rule 1: a new client, with one try of the password, is made only when the spec has changed or the
        password's file was written anew.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from controller.errors import Refused, Unavailable
from controller.model.host import BmcSpec
from controller.providers.redfish.client import NotThere, RedfishClient, describe
from controller.providers.redfish.fence import FORCE_OFF, USUAL, Timing
from controller.providers.redfish.parse import (
    SystemAnswer,
    choose_system,
    parse_members,
    parse_reset_values,
    parse_system,
)
from controller.providers.redfish.power_watch import PowerWatch, Reading
from controller.transport.http import ANSWER_S, HttpClient
from controller.transport.password import Password, read_password
from controller.transport.tls import Trust

SYSTEMS: Final = "/redfish/v1/Systems"


class Bmc(PowerWatch):
    """One host's BMC; `clock` gives epoch seconds."""

    def __init__(self, host: str, spec: BmcSpec, clock: Callable[[], float],
                 timing: Timing = USUAL, answer_s: float = ANSWER_S) -> None:
        super().__init__(host, clock, timing)
        self._name = f"the BMC of {host}"
        self._spec = spec
        self._answer_s = answer_s
        self._made_for: tuple[BmcSpec, Password] | None = None
        self._client: RedfishClient | None = None
        self._one_at_a_time = asyncio.Lock()
        self._system = ""
        self._resets: tuple[str, ...] | None = None
        self._reset_path = ""

    def declare(self, spec: BmcSpec) -> None:
        """Take a changed spec; it holds from the next question on."""
        self._spec = spec

    async def ask(self) -> Reading:
        """Return what it says now.

        Errors: Refused, Unavailable.
        """
        async with self._asking() as client:
            answer = await self._read_system(client)
        return Reading(answer.state, answer.uuid, self._resets or ())

    async def force_off(self) -> tuple[bool, str]:
        """Ask it to cut the power; return whether it took that, and its answer in words.

        Errors: Refused, Unavailable: it was not asked; OutcomeUnknown.
        """
        async with self._asking() as client:
            if not self._reset_path:
                raise Refused(f"{self._name} names no place for a reset: {self.host} cannot be"
                              " fenced by it")
            answer = await client.post(self._reset_path, {"ResetType": FORCE_OFF})
        return answer.status < 300, f"to {FORCE_OFF} {describe(answer)}"

    async def close(self) -> None:
        """Log out."""
        client, self._client, self._made_for = self._client, None, None
        if client is not None:
            await client.close()

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[RedfishClient]:
        """Wait for the turn, and give the client; what makes no sense is no answer."""
        async with self._one_at_a_time:
            try:
                yield await self._current()
            except ValueError as error:
                raise Unavailable(f"{self._name} is not understood: {error}") from error

    async def _current(self) -> RedfishClient:
        """Return the client for the spec and the password of now."""
        password = read_password(self._spec.credentials, self._name)
        if self._client is None or self._made_for != (self._spec, password):
            await self.close()
            http = HttpClient(self._name, self._spec.url, Trust(
                self._spec.fingerprint, self._spec.ca_file, self._spec.minimum_tls),
                answer_s=self._answer_s)
            self._client = RedfishClient(self._name, http, password)
            self._made_for = (self._spec, password)
            self._system, self._resets, self._reset_path = "", None, ""
        return self._client

    async def _read_system(self, client: RedfishClient) -> SystemAnswer:
        """Return the host's system; where it is, and what it offers, is asked once."""
        if not self._system:
            members = parse_members(await client.get(SYSTEMS))
            self._system = choose_system(members, self._spec.system, self.host)
        try:
            answer = parse_system(await client.get(self._system))
        except NotThere:
            self._system = ""       # looked for anew
            raise
        self._reset_path = answer.reset_path
        if answer.resets is not None:
            self._resets = answer.resets
        elif self._resets is None and answer.info_path:
            self._resets = parse_reset_values(await client.get(answer.info_path))
        return answer
