"""Trunks: one bridge, and the ports that let exactly the declared VLANs pass."""

from collections.abc import Mapping
from typing import NamedTuple

from controller.model.facts import BridgeFacts, PortFacts
from controller.plan.actions import AddUplink, Cause, CreateBridge, MigrateDomain, SetTrunk
from controller.plan.draft import Draft, Item
from controller.plan.network import NOTHING_PASSES, render_vlans


class Trunk(NamedTuple):
    """A port and the VLANs it must let pass, sorted."""

    port: str
    vlans: tuple[int, ...]


def diff_bridge(target: str, node: str, bridge: str, trunks: tuple[Trunk, ...], *, rstp: bool,
                bridges: Mapping[str, BridgeFacts], cause: Cause, draft: Draft) -> None:
    """Note what brings `bridge` of `node` and its trunk ports to what is declared."""
    seen = bridges.get(bridge)
    first: tuple[str, ...] = ()
    if seen is None:
        first = (draft.do(CreateBridge(
            target=target, node=node, bridge=bridge, rstp=rstp, cause=cause,
            reason=f"bridge {bridge} is declared and {node} has no such bridge")),)
    for port, vlans in trunks:
        port_seen = seen.ports.get(port) if seen is not None else None
        if port_seen is None:
            draft.do(AddUplink(
                target=target, node=node, bridge=bridge, port=port, vlans=vlans, cause=cause,
                reason=f"{port} is declared on bridge {bridge} of {node} and is not plugged in"),
                first)
        elif not carries(port_seen, vlans):
            draft.do(SetTrunk(
                target=target, node=node, bridge=bridge, port=port, vlans=vlans,
                was=port_seen.trunks, cause=cause, reason=trunk_reason(node, port_seen, vlans),
                consequence="the node undoes it by itself unless it stays reachable"))


def carries(port: PortFacts, vlans: tuple[int, ...]) -> bool:
    """Return whether exactly `vlans` pass on `port`."""
    is_trunk = port.vlan_mode == "trunk" or (port.vlan_mode is None and port.tag is None)
    return is_trunk and port.trunks == (vlans or NOTHING_PASSES)


def trunk_reason(node: str, port: PortFacts, vlans: tuple[int, ...]) -> str:
    """Return what passes on `port` and what should, as a sentence."""
    where = f"{port.name} of {node}"
    if port.vlan_mode not in {None, "trunk"} or (port.vlan_mode is None and port.tag is not None):
        mode = port.vlan_mode or "access"
        return f"{where} is an {mode} port and a trunk for {render_vlans(vlans)} is declared"
    if not port.trunks:
        return f"{where} lets every VLAN pass and only {render_vlans(vlans)} is declared"
    missing = set(vlans) - set(port.trunks)
    extra = set(port.trunks) - set(vlans) - {0}
    parts = [f"does not let {render_vlans(missing)} pass"] if missing else []
    parts += [f"lets {render_vlans(extra)} pass, which is not declared there"] if extra else []
    return f"{where} " + (" and ".join(parts) or "lists its VLANs in another way than declared")


def narrow_last(draft: Draft, vlans_of_vm: Mapping[str, frozenset[int]]) -> None:
    """Let a trunk lose a VLAN only after the VMs that still need it there have moved away."""
    moves = [item.action for item in draft.items if isinstance(item.action, MigrateDomain)]
    if not moves:
        return
    for index, item in enumerate(draft.items):
        action = item.action
        if not isinstance(action, SetTrunk):
            continue
        lost = set(action.was) - set(action.vlans)
        first = tuple(move.id for move in moves if vlans_of_vm.get(move.target, set()) & lost)
        if first:
            draft.items[index] = Item(action, (*item.after, *first), item.rank)
