"""
What a drilled guest is asked over its network, as its policy's `health` wants: a port, a ping.

What cannot be asked is named, with the reason, and is never taken as answered.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from mover.drill.prober import Prober, Question


class Calls(NamedTuple):
    """How one guest is asked over the network; `unasked` says why it is not."""

    questions: Tuple[Question, ...] = ()
    wanted: Tuple[str, ...] = ()        # the same in words, or those that cannot be asked
    unasked: str = ""
    prober: Optional[Prober] = None

    @classmethod
    def of(cls, health: Dict[str, Any], address: str, mac: str, gateways: List[str]) -> "Calls":
        """Return what a guest is to be asked; nothing where its policy wants nothing of it."""
        ports = ([int(health["tcp"])] if health.get("tcp") else []) + (
            [0] if health.get("ping") else [])
        wanted = tuple("port %d" % port if port else "a ping" for port in ports)
        if not ports:
            return cls()
        if not address or not mac:
            return cls((), wanted, "no card of it has an address in its spec")
        if not any(ip_address(address) in ip_interface(one).network for one in gateways):
            return cls((), wanted, "no network that it is on declares a subnet with %s" % address)
        return cls(tuple(Question(address, port, mac) for port in ports), wanted)

    def without(self, why: str) -> "Calls":
        """Return the same where nobody can ask."""
        return self._replace(questions=(), unasked=why) if self.questions else self

    @property
    def why_unasked(self) -> str:
        """Return why no answer counts; empty where they do."""
        return self.unasked or ("" if self.prober is None else self.prober.lies)

    def lacking(self) -> List[str]:
        """Ask, and return what is lacking; nothing where no answer would count."""
        found = []
        for one, word in zip(self.questions, self.wanted):
            if self.prober is not None and not self.prober.lies:
                answer = self.prober.ask(one)
                if not answer.answered and not self.prober.lies:
                    found.append("%s at %s: %s" % (word, one.address, answer.why))
        return found

    def said(self) -> List[str]:
        """Return what was answered, or why nothing of it was asked."""
        if not self.wanted:
            return []
        if self.why_unasked:
            return ["%s was not asked: %s" % (" and ".join(self.wanted), self.why_unasked)]
        return ["it answers %s at %s" % (" and ".join(self.wanted), self.questions[0].address)]
