"""Cards: which of a VM's network cards are managed, and what brings them to the specs.

Rule 1: only an access card on a bridge is ever changed. A card of another kind, a trunk, or a card
        on another kind of switch is left as it is, with a remark.
"""

from collections.abc import Callable

from controller.model.facts import Absent, DomainConfig, NicFacts
from controller.model.host import Host
from controller.model.virtual_machine import NicSpec, VirtualMachine
from controller.plan.actions.desired import (
    AttachNic,
    DesiredNic,
    DetachNic,
    DomainChange,
    UpdateNic,
)
from controller.plan.survey.survey import Survey
from controller.plan.survey.vlans import render_vlans

OURS = "openvswitch"
Say = Callable[[str], None]


def desired_nic(nic: NicSpec, host: Host, survey: Survey) -> DesiredNic:
    """Return `nic` as it should be plugged in on `host`."""
    return DesiredNic(nic.mac, host.spec.bridge, survey.vlan_of[nic.network], nic.model,
                   host.spec.driver)


def no_switch(host: Host, survey: Survey) -> str | None:
    """Return why no card can be plugged in on `host`; None if Open vSwitch has its bridge."""
    name, spec = host.name, host.spec
    if spec.driver != OURS:
        return f"{name} is declared with `driver: {spec.driver}`, which nothing here drives yet"
    node = survey.nodes.get(name)
    if node is None:
        return None
    if isinstance(node.bridges, Absent):
        return f"Open vSwitch is not installed on {name}"
    device = (survey.interfaces(name) or {}).get(spec.bridge)
    if device is not None and device.kind == "bridge":
        return f"{spec.bridge} of {name} is a Linux bridge, not one of Open vSwitch"
    return None


def left_alone(card: NicFacts) -> str | None:
    """Return why a card is not managed; None for an access card on a bridge."""
    if card.kind != "bridge":
        return f"is of libvirt's kind `{card.kind}`"
    if card.trunks:
        native = "" if card.native is None else f", {card.native} of them without a tag"
        return f"carries VLANs {render_vlans(card.trunks)}{native}"
    if card.port_type not in {None, "", OURS}:
        return f"is plugged in as `{card.port_type}`"
    return None


def is_card(nic: NicSpec, seen: NicFacts, vlan: int, bridge: str) -> bool:
    """Return whether a card is as declared; a quick check that nearly always suffices."""
    return (nic.mac == seen.mac and seen.vlan == vlan and seen.bridge == bridge
            and seen.kind == "bridge" and seen.port_type in {None, OURS}
            and (seen.model is None or seen.model == nic.model))


def nic_changes(vm: VirtualMachine, seen: DomainConfig, host: Host, survey: Survey, *, live: bool,
                say: Say, take: Say, restart: Say, remark: Say) -> list[DomainChange]:
    """Return the changes of the cards; cards are managed only where `nics` is declared."""
    if "nics" not in vm.spec.model_fields_set:
        return []
    missing = no_switch(host, survey)
    if missing is not None:
        remark(f"{vm.name}'s cards are left as they are: {missing}")
        return []
    changes: list[DomainChange] = []
    present = {nic.mac: nic for nic in seen.nics}
    for nic in vm.spec.nics:
        desired = desired_nic(nic, host, survey)
        card = present.pop(nic.mac, None)
        odd = None if card is None else left_alone(card)
        if card is None:
            changes.append(AttachNic(desired))
            say(f"card {nic.mac} on {nic.network} is missing")
        elif odd is not None:
            remark(f"{vm.name}'s card {nic.mac} {odd}: it is left as it is; plug it into"
                   f" {desired.bridge} on VLAN {desired.vlan} ({nic.network}) by hand, or leave"
                   " `nics` out of its spec")
        elif _is_other(card, desired, nic.network, live=live, say=say, restart=restart):
            changes.append(UpdateNic(desired))
    for mac, card in sorted(present.items()):
        odd = left_alone(card)
        if odd is not None:
            remark(f"{vm.name} has a card {mac} that is not declared and {odd}: it is left alone")
            continue
        changes.append(DetachNic(mac))
        take(f"card {mac} on {_where(card)} is not declared")
    return changes


def _is_other(card: NicFacts, desired: DesiredNic, network: str, *, live: bool, say: Say,
              restart: Say) -> bool:
    """Return whether an access card has to be changed in this XML, and say why."""
    differs = (card.bridge, card.vlan) != (desired.bridge, desired.vlan)
    if differs:
        say(f"card {card.mac} is on {_where(card)} and {desired.bridge} VLAN {desired.vlan}"
            f" ({network}) is declared")
    if not live and card.port_type == "":
        say(f"card {card.mac} is not plugged in as a port of Open vSwitch")
        differs = True
    if card.model is not None and card.model != desired.model:
        words = f"card {card.mac} is a {card.model} and a {desired.model} is declared"
        if live:
            restart(f"{words}, which cannot be changed while it runs")
        else:
            say(words)
            differs = True
    return differs


def _where(card: NicFacts) -> str:
    return f"{card.bridge} VLAN {card.vlan}" if card.vlan is not None else f"{card.bridge} untagged"
