"""The interface of what reads hosts that no spec declares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from controller.adoption.host_keys import HostKey
from controller.model.facts import Fact, NodeFacts


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """What one host answered."""

    facts: Fact[NodeFacts]
    hostname: str = ""
    definitions: Mapping[str, str] = field(default_factory=dict)
    """The XML of its domains, by UUID."""


class HostReader(Protocol):
    """Reads hosts, each once."""

    async def shown_key(self, name: str, kinds: Sequence[str]) -> HostKey:
        """Return the host key that a host shows, of one of `kinds` if it has one.

        Errors: Unavailable with a sentence.
        """
        ...

    async def read(self, name: str, *, waking: bool = False) -> HostAnswer:
        """Return what a host answers; a host that does not is Unknown, with a sentence.

        Shapes: `waking` waits for a libvirtd that begins only when it is asked.
        """
        ...

    async def probe(self, name: str, program: str, question: str, timeout_s: float) -> str:
        """Return the answer of a program that looks at a host and changes nothing.

        Errors: as `Transport.ask`.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
