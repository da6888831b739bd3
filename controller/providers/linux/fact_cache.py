"""The facts of one node between two polls: what a new answer, or silence, makes of them.

Rule 1: silence removes nothing: the last known facts stay, marked as last seen.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from controller.model.facts import Absent, Fact, Known, NodeFacts, Unknown
from controller.providers.keepalived.facts import parse_keepalived
from controller.providers.libvirt.facts import parse_capabilities, parse_domains, parse_pools
from controller.providers.linux.facts import Answer, Section, parse_serving
from controller.providers.linux.guard_facts import parse_grantor, parse_guard
from controller.providers.linux.last_seen import FILLERS
from controller.providers.linux.record import parse_records
from controller.providers.linux.replica import parse_leftovers, parse_replicas
from controller.providers.linuxbridge.facts import parse_links
from controller.providers.openvswitch.facts import parse_bridges, parse_drops, parse_interfaces

PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "domains": parse_domains, "pools": parse_pools, "bridges": parse_bridges,
    "replicas": parse_replicas, "leftovers": parse_leftovers,
    "interfaces": parse_interfaces, "capabilities": parse_capabilities,
    "records": parse_records, "dropped": parse_drops,
    "guard": parse_guard, "grantor": parse_grantor, "serving": parse_serving,
    "links": parse_links, "gateways": parse_keepalived,
}
CLOCK_SAMPLES: Final = 8


@dataclass(slots=True)
class Part:
    """One section as it was last parsed."""

    digest: str | None = None
    parsed: Any = None
    """The parsed text."""
    value: Any = None
    """The parsed text, completed by last seen objects; see last_seen.py."""
    at: float | None = None
    unknown_since: float | None = None


class ClockSample(NamedTuple):
    """One measurement of a node's clock offset; the one with the least delay is the most accurate.

    Source: RFC 5905 § 8: the time that the node took to answer cancels out.
    """

    delay_s: float
    offset_s: float


class FactCache:
    """The last known facts of one node; `wanted` are the sections it is asked for."""

    def __init__(self, name: str, wanted: tuple[str, ...]) -> None:
        self.name = name
        self.wanted = wanted
        self._parts = {section: Part() for section in PARSERS}
        self._last: NodeFacts | None = None
        self._last_at: float | None = None
        self._silent_since: float | None = None
        self._clock: deque[ClockSample] = deque(maxlen=CLOCK_SAMPLES)

    @property
    def digests(self) -> dict[str, str]:
        """Return the digests of the texts that need not be sent again, by section."""
        return {section: part.digest for section, part in self._parts.items()
                if part.digest is not None and section in self.wanted}

    @property
    def last(self) -> NodeFacts | None:
        """Return the facts that it answered last; None if it never did."""
        return self._last

    def miss(self, reason: str, at: float) -> Unknown[NodeFacts]:
        """Return the fact of a node that did not answer: unknown, with what was last seen."""
        self._silent_since = at if self._silent_since is None else self._silent_since
        return Unknown(reason, self._silent_since, self._last, self._last_at)

    def learn(self, answer: Answer, asked_at: float, received_at: float) -> Known[NodeFacts]:
        """Return the facts of an answer; their age counts from the question."""
        if self._last is not None and self._last.boot_id != answer.boot_id:
            self._clock.clear()
        outward_s, homeward_s = answer.began - asked_at, received_at - answer.now
        self._clock.append(ClockSample(outward_s + homeward_s, (outward_s - homeward_s) / 2))
        best = min(self._clock)
        parts: dict[str, Any] = {
            section: self._fact(section, answer.sections.get(section), asked_at)
            for section in PARSERS}
        facts = NodeFacts(
            name=self.name,
            boot_id=answer.boot_id,
            clock_offset_s=best.offset_s,
            clock_error_s=best.delay_s / 2,
            hardware=Known(answer.hardware, asked_at),
            versions=answer.versions,
            product_uuid=answer.product_uuid,
            warnings=answer.warnings,
            **parts,
        )
        self._last, self._last_at, self._silent_since = facts, asked_at, None
        return Known(facts, asked_at)

    def _fact(self, section: str, answer: Section | None, at: float) -> Fact[Any]:
        part = self._parts[section]
        if section not in self.wanted or (answer is not None and answer.absent and not part.value):
            self._parts[section] = Part()
            return Absent(at)
        try:
            self._parse(part, section, answer)
            if section in FILLERS:
                part.value = FILLERS[section](part.parsed, part.value or {},
                                              self._parts["pools"].value or {})
            else:
                part.value = part.parsed
        except ValueError as error:
            part.unknown_since = at if part.unknown_since is None else part.unknown_since
            return Unknown(f"{self.name}: {error}", part.unknown_since, part.value, part.at)
        part.at, part.unknown_since = at, None
        return Known(part.value, at)

    def _parse(self, part: Part, section: str, answer: Section | None) -> None:
        """Update `part`; only a changed text is parsed."""
        if answer is None:
            raise ValueError(f"the answer says nothing of its {section}")
        if answer.absent:
            raise ValueError(f"it had {section}, and the program that shows them is gone: put it"
                             " back")
        if answer.error is not None:
            raise ValueError(answer.error)
        if answer.same:
            if answer.digest is None or answer.digest != part.digest:
                raise ValueError(f"the answer refers to {section} that were never sent")
        elif answer.text is None or answer.digest is None:
            raise ValueError(f"the answer says nothing of its {section}")
        else:
            part.digest = None
            part.parsed = PARSERS[section](answer.text)
            part.digest = answer.digest
