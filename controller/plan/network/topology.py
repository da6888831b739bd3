"""Topology: which port is cabled to which, and which uplinks would close a loop.

Rule 1: a second path between two bridges makes frames go in circles, unless a spanning tree is seen
        to be on at both of its ends.
Rule 2: a port that cannot be seen may be plugged in already, and a far end that is not declared may
        be without a spanning tree.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from controller.model.desired import Desired
from controller.model.facts import BridgeFacts
from controller.plan.actions.network import AddUplink
from controller.plan.survey.survey import Survey


class End(NamedTuple):
    """One port of one node."""

    node: str
    port: str


class Cable(NamedTuple):
    """Two ends, and the inter-site link that it is a member of; empty within a site."""

    a: End
    b: End
    link: str = ""


def cables(desired: Desired) -> tuple[Cable, ...]:
    """Return every cable with both ends declared: one per uplink, one per link member."""
    found: list[Cable] = []
    members: dict[str, End] = {}
    plugged: dict[str, int] = {}
    for name in sorted(desired.switches):
        for port in desired.switches[name].spec.ports:
            here = End(name, port.name)
            if port.link is not None:
                if port.link in members:
                    found.append(Cable(members[port.link], here, port.link.partition("/")[0]))
                members[port.link] = here
            host = desired.hosts.get(port.host or "")
            if host is not None:
                number = plugged.get(host.name, 0)
                plugged[host.name] = number + 1
                if number < len(host.spec.uplinks):
                    found.append(Cable(End(host.name, host.spec.uplinks[number]), here))
    return tuple(found)


class Loop(NamedTuple):
    """Why an uplink may close a loop."""

    why: str
    temporary: bool
    """Whether this plan creates the missing bridge, whose spanning tree is then seen."""


def has_tree(bridge: BridgeFacts) -> bool:
    """Return whether a spanning tree keeps frames on a bridge from going in circles."""
    return bridge.rstp_enabled or bridge.stp_enabled


@dataclass(slots=True)
class Loops:
    """Says which uplinks may close a loop; ask about those of one plan in its order."""

    survey: Survey
    _cables: tuple[Cable, ...] | None = None
    _planned: set[End] = field(default_factory=set)
    """Ports that this plan plugs in before the port that is asked about."""

    def closed_by(self, action: AddUplink) -> Loop | None:
        """Return why plugging a port in may close a loop; None if it cannot."""
        if self._cables is None:
            self._cables = cables(self.survey.desired)
        end = End(action.node, action.port)
        second = self._second_path(end)
        self._planned.add(end)
        if second is None:
            return None
        far = [one.b.node if one.a == end else one.a.node for one in self._cables
               if end in {one.a, one.b}]
        open_ends = [loop for node in (end.node, *(far or [""]))
                     if (loop := self._without_tree(node)) is not None]
        if not open_ends:
            return None
        return Loop(f"{second}, and {open_ends[0].why}", all(one.temporary for one in open_ends))

    def _second_path(self, end: End) -> str | None:
        """Return which other path there is, or will be, from the bridge of a port."""
        desired = self.survey.desired
        if end.node in desired.hosts:
            others = [port for port in desired.hosts[end.node].spec.uplinks if port != end.port]
        else:
            ports = desired.switches[end.node].spec.ports
            mine = next((port for port in ports if port.name == end.port), None)
            others = [port.name for port in ports if mine is not None and port is not mine
                      and (port.link is not None if mine.link is not None
                           else port.host == mine.host)]
        for other in others:
            if self._plugged(End(end.node, other)):
                return f"{other} of {end.node} is a way already"
        return None

    def _plugged(self, end: End) -> bool:
        """Return whether a port is in a bridge, will be, or cannot be seen."""
        bridges = self.survey.bridges(end.node)
        if end in self._planned or bridges is None:
            return True
        return any(end.port in {port.name, *port.members}
                   for bridge in bridges.values() for port in bridge.ports.values())

    def _without_tree(self, node: str) -> Loop | None:
        """Return that no spanning tree is seen on a node's bridge; None if one is."""
        if not node:
            return Loop("nobody can see a spanning tree at its other end, which is not declared",
                        temporary=False)
        desired = self.survey.desired
        spec = (desired.hosts.get(node) or desired.switches[node]).spec
        bridges = self.survey.bridges(node)
        bridge = (bridges or {}).get(spec.bridge)
        if bridge is None:
            return Loop(f"no spanning tree is seen on {spec.bridge} of {node} yet",
                        temporary=bridges is not None)
        if not has_tree(bridge):
            return Loop(f"the spanning tree of {bridge.name} on {node} is off", temporary=False)
        apart = [port.name for port in bridge.ports.values() if not port.in_tree]
        return Loop(f"{', '.join(apart)} of {node} takes no part in its spanning tree",
                    temporary=False) if apart else None
