"""Reads hosts that no spec declares yet: one round of the facts script, and their domains' XML."""

import json
from collections.abc import Callable, Sequence
from typing import Final

from controller.adoption.host_keys import HostKey
from controller.errors import ActionError
from controller.model.facts import Unknown
from controller.providers.linux.estate import HOST_SECTIONS, question_command
from controller.providers.linux.fact_cache import FactCache
from controller.providers.linux.facts import Answer, parse_answer
from controller.providers.linux.program import load_program
from controller.providers.reader import HostAnswer
from controller.transport.base import Endpoint, Transport
from controller.transport.host_keys import shown_key

WAKING_S: Final = 45.0
"""What libvirt gets: after an upgrade it first asks every emulator what that can do."""
ANSWER_S: Final = 30.0
"""More than a poll has: nobody waits for the next one."""
PATIENCE: Final = 4.0
"""So many times longer than in a poll a busy libvirt may take."""
SECTIONS: Final = tuple(one for one in HOST_SECTIONS
                        if one not in {"replicas", "leftovers", "records", "guard", "grantor"})
"""What a host has by itself; nothing of ours is there yet."""


class LinuxReader:
    """Reads hosts over `transport`; `clock` gives epoch seconds."""

    def __init__(self, transport: Transport, endpoints: tuple[Endpoint, ...],
                 clock: Callable[[], float]) -> None:
        self._transport, self._clock = transport, clock
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        transport.declare(endpoints)

    async def shown_key(self, name: str, kinds: Sequence[str]) -> HostKey:
        """Return the host key that a host shows."""
        endpoint = self._endpoints[name]
        return await shown_key(endpoint.address, endpoint.port, kinds)

    async def read(self, name: str, *, waking: bool = False) -> HostAnswer:
        """Return what a host answers."""
        waking_s = WAKING_S if waking else 0.0
        cache, asked_at = FactCache(name, SECTIONS), self._clock()
        try:
            text = await self._transport.ask(name, load_program("facts.py"),
                                             question_command(SECTIONS, {}, waking_s=waking_s,
                                                              patience=PATIENCE if waking else 1.0),
                                             ANSWER_S + waking_s)
            answer = parse_answer(text)
            facts = cache.learn(answer, asked_at, self._clock())
            return HostAnswer(facts, answer.hostname, definitions_of(answer))
        except ActionError as error:
            return HostAnswer(Unknown(str(error), asked_at))
        except ValueError as error:
            return HostAnswer(Unknown(f"{name} answered with something that is not understood"
                                      f" ({error})", asked_at))

    async def probe(self, name: str, program: str, question: str, timeout_s: float) -> str:
        """Return the answer of a program that looks at a host."""
        return await self._transport.ask(name, load_program(program), question, timeout_s)

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.close()


def definitions_of(answer: Answer) -> dict[str, str]:
    """Return the XML of each domain by its UUID: that of its next boot, if libvirt keeps it."""
    section = answer.sections.get("domains")
    if section is None or section.text is None:
        return {}
    found = {}
    for row in json.loads(section.text):
        text = row.get("config_xml") or row.get("live_xml")
        if text:
            found[row["uuid"]] = text
    return found
