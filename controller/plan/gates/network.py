"""The network's gates: no VLAN in use is taken away, no loop is closed, no node is cut off.

Rule 1: an approval opens none of them, except the one about what a node undid by itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from controller.model.units import render_instant
from controller.plan.actions.action import Action
from controller.plan.actions.desired import DetachNic, UpdateNic
from controller.plan.actions.machine import (
    MigrateDomain,
    PruneDomain,
    ReconfigureDomain,
    RemoveDomain,
    UndefineDomain,
)
from controller.plan.actions.network import AddUplink, NarrowTrunk, SetPortVlan
from controller.plan.gates.approval import is_approved
from controller.plan.network.topology import Loops
from controller.plan.network.trunk import say_lost
from controller.plan.network.vlan_use import Use, VlanUses
from controller.plan.steps.plan import Ruling, Verdict
from controller.plan.survey.survey import Survey
from controller.plan.survey.vlans import render_vlans

SHOWN = 4
USED = frozenset({"in-use", "own-address"})
"""The rules that refuse to take a VLAN away because it is in use."""
LEAVINGS = MigrateDomain | SetPortVlan | UndefineDomain | RemoveDomain


@dataclass(slots=True)
class NetworkGates:
    """Judges actions on bridges and trunks, for the steps of one plan in their order."""

    survey: Survey
    pending: frozenset[str] = frozenset()
    """Targets whose cards are to leave a VLAN by this plan."""
    _uses: VlanUses | None = None
    _loops: Loops | None = None

    def judge(self, action: Action) -> Ruling | None:
        """Return the first ruling against an action; None if there is none."""
        if action.reverts and (ruling := undone(action, self.survey)) is not None:
            return ruling
        if isinstance(action, NarrowTrunk):
            return self._used(action)
        if isinstance(action, AddUplink):
            return own_device(action, self.survey) or self._loop(action)
        return None

    def _used(self, action: NarrowTrunk) -> Ruling | None:
        """Refuse to take away a VLAN that something uses, or may use where it cannot be seen."""
        if self._uses is None:
            self._uses = VlanUses(self.survey)
        uses = self._uses.of(action)
        if not uses:
            return None
        what = f"{say_lost(action.lost)} on {action.port} of {action.node}"
        own = [use for use in uses if use.own]
        if own:
            return Ruling(Verdict.REFUSED, "own-address",
                          f"{what} may carry {say_uses(own)}: to take it could cut that node off",
                          declare_instead(action))
        if all(use.target in self.pending for use in uses):
            return Ruling(Verdict.WAITING, "in-use", f"{what} is used by {say_uses(uses)}, which"
                          " is to leave it first", "when they have left it")
        return Ruling(Verdict.REFUSED, "in-use", f"{what} may be used by {say_uses(uses)}",
                      "when nothing is seen on it any more; " + declare_instead(action))

    def _loop(self, action: AddUplink) -> Ruling | None:
        """Refuse a second path unless a spanning tree is seen to be on at both ends."""
        if self._loops is None:
            self._loops = Loops(self.survey)
        loop = self._loops.closed_by(action)
        if loop is None:
            return None
        verdict = Verdict.WAITING if loop.temporary else Verdict.REFUSED
        return Ruling(verdict, "loop",
                      f"{action.port} of {action.node} may close a loop: {loop.why}",
                      "when a spanning tree is seen on at both ends (ovs-vsctl set Bridge"
                      f" {action.bridge} rstp_enable=true), or declare one bond in place of both")


def leaving_vlans(actions: Iterable[Action]) -> frozenset[str]:
    """Return the targets whose cards leave a VLAN, or a host, by one of the actions."""
    return frozenset(
        action.target for action in actions if isinstance(action, LEAVINGS) or (
            isinstance(action, ReconfigureDomain | PruneDomain)
            and any(isinstance(change, UpdateNic | DetachNic) for change in action.changes)))


def say_uses(uses: tuple[Use, ...] | list[Use]) -> str:
    """Return the first uses by name, and how many more there are."""
    words = list(dict.fromkeys(use.words for use in uses))
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more


def declare_instead(action: NarrowTrunk) -> str:
    """Return what to declare so that a port keeps its VLANs."""
    where = f"of {action.target}" if action.target.startswith("Host/") else (
        f"of port {action.port} of {action.target}")
    tagged = [vlan for vlan in action.lost if vlan]
    words = [f"VLAN {render_vlans(tagged)} as a Network, or `vlans: all` {where}"] if tagged else []
    words += [f"`nativeVlan: 0` {where}"] if 0 in action.lost else []
    return f"declare {' and '.join(words)}"


def undone(action: Action, survey: Survey) -> Ruling | None:
    """Ask before repeating what a node undid by itself, until the specs of it change."""
    for one in survey.context.undone:
        if one.action_id == action.id and one.goal == action.goal:
            if is_approved(action, survey):
                return None
            return Ruling(
                Verdict.NEEDS_APPROVAL, "undone",
                f"it was begun at {render_instant(one.at)} and {action.node} undid it by itself"
                f" ({one.sentence}): it would cut the same way again, so it waits for a commit that"
                " changes it, or for a person",
                f"hotsite approve {action.id}, or hotsite resume {action.target}")
    return None


def own_device(action: AddUplink, survey: Survey) -> Ruling | None:
    """Refuse an uplink that carries its node's own address, or belongs to another device."""
    where = f"{action.port} of {action.node}"
    interfaces = survey.interfaces(action.node)
    if interfaces is None:
        return Ruling(Verdict.REFUSED, "own-address", f"the addresses of {action.node} cannot be"
                      f" seen: {action.port} may carry one of them", "when they can be seen")
    device = interfaces.get(action.port)
    own = [address for one in interfaces.values()
           if one.name == action.port or (one.vlan is not None and one.parent == action.port)
           for address in one.addresses]
    if own:
        return Ruling(
            Verdict.REFUSED, "own-address",
            f"{where} carries {action.node}'s own address {', '.join(own)}: plugging it into"
            f" {action.bridge} would cut the node off",
            f"move the address to {action.bridge} by hand, or declare another uplink")
    if device is not None and device.master not in {None, "ovs-system"}:
        return Ruling(
            Verdict.REFUSED, "own-address", f"{where} belongs to {device.master} already",
            f"take it out there by hand, or declare {device.master} in its place")
    return None
