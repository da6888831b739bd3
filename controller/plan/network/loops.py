"""Loops: a second way between two bridges goes in circles unless a spanning tree is seen on."""

from dataclasses import dataclass, field
from typing import NamedTuple

from controller.model.facts import BridgeFacts
from controller.plan.actions.network import AddUplink
from controller.plan.network.cables import Cable, End, cables
from controller.plan.survey.survey import Survey


class Loop(NamedTuple):
    """Why a plug may close a loop."""

    why: str
    passing: bool
    """Whether this plan makes the bridge that lacks: it is seen with its tree afterwards."""


def has_tree(bridge: BridgeFacts) -> bool:
    """Return whether a spanning tree keeps frames on a bridge from going in circles."""
    return bridge.rstp_enabled or bridge.stp_enabled


@dataclass(slots=True)
class Loops:
    """Tells which plugs may close a loop; those of one plan are asked in its order."""

    survey: Survey
    _cables: tuple[Cable, ...] | None = None
    _coming: set[End] = field(default_factory=set)
    """Ports that this plan plugs in before the one that is asked about."""

    def closed_by(self, action: AddUplink) -> Loop | None:
        """Return why plugging a port in may close a loop; None where it cannot, or a tree is on."""
        if self._cables is None:
            self._cables = cables(self.survey.desired)
        end = End(action.node, action.port)
        second = self._second_way(end)
        self._coming.add(end)
        if second is None:
            return None
        dark = [loop for node in self._ends(end)
                if (loop := self._without_tree(node)) is not None]
        return Loop(f"{second}, and {dark[0].why}", all(one.passing for one in dark)) \
            if dark else None

    def _second_way(self, end: End) -> str | None:
        """Return which other way there is, or will be, from the bridge of a port."""
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
        """Return whether a port is in a bridge, or will be; where nobody sees it, it may be."""
        bridges = self.survey.bridges(end.node)
        if end in self._coming or bridges is None:
            return True
        return any(end.port in {port.name, *port.members}
                   for bridge in bridges.values() for port in bridge.ports.values())

    def _ends(self, end: End) -> list[str]:
        """Return the nodes at which a loop through a port could be cut; "" for one unknown."""
        assert self._cables is not None
        far = [one.b.node if one.a == end else one.a.node for one in self._cables
               if end in {one.a, one.b}]
        return [end.node, *(far or [""])]

    def _without_tree(self, node: str) -> Loop | None:
        """Return that no spanning tree is seen on a node's bridge; None where one is."""
        if not node:
            return Loop("nobody can see a spanning tree at its other end, which is not declared",
                        passing=False)
        desired = self.survey.desired
        spec = (desired.hosts.get(node) or desired.switches[node]).spec
        bridges = self.survey.bridges(node)
        bridge = (bridges or {}).get(spec.bridge)
        if bridge is None:
            return Loop(f"no spanning tree is seen on {spec.bridge} of {node} yet",
                        passing=bridges is not None)
        if not has_tree(bridge):
            return Loop(f"the spanning tree of {bridge.name} on {node} is off", passing=False)
        apart = [port.name for port in bridge.ports.values() if not port.in_tree]
        return Loop(f"{', '.join(apart)} of {node} takes no part in its spanning tree",
                    passing=False) if apart else None
