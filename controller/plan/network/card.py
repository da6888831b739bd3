"""Cards: which of a VM's network cards are managed, and what brings them to the specs.

Rule 1: a card is right if it sits where its host has that network: on that bridge with that tag, or
        on that network of libvirt's. By which of libvirt's kinds it got there does not matter.
Rule 2: only an access card on a bridge is ever changed. A card of another kind, a trunk, one on
        another kind of switch, and one with `source: keep` is left as it is.
Rule 3: the definition of a card on a Linux bridge holds a tag only where libvirt understands it,
        from version 11 on; before, a VM with one does not start. Its port gets the tag at run time.
"""

from collections.abc import Callable
from typing import Final

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
from controller.plan.survey.networks.attachment import (
    LINUXBRIDGE,
    OPENVSWITCH,
    Attachment,
    attachment_of,
)
from controller.plan.survey.survey import Survey
from controller.plan.survey.vlans import render_vlans

TAGS_SINCE: Final = 11
"""The major version of libvirt from which a definition may hold a tag for a Linux bridge."""
MODELS: Final = frozenset({
    "virtio", "virtio-transitional", "virtio-non-transitional", "e1000", "e1000e", "igb", "rtl8139",
    "ne2k_pci", "pcnet", "vmxnet3", "i82551", "i82557b", "i82559er", "usb-net", "spapr-vlan"})
"""Models that a new card may have: those that QEMU makes."""
Say = Callable[[str], None]


def place_of(nic: NicSpec, host: Host, survey: Survey) -> Attachment:
    """Return where a host has the network of a card that is not kept."""
    return attachment_of(nic.on, survey.vlan_of[nic.on], host.spec)


def desired_nic(nic: NicSpec, host: Host, survey: Survey) -> DesiredNic:
    """Return `nic` as it should be plugged in on `host`."""
    place = place_of(nic, host, survey)
    vlan = place.vlan if host.spec.driver == OPENVSWITCH or takes_tags(host, survey) else None
    return DesiredNic(nic.mac, place.bridge, vlan, nic.model, host.spec.driver,
                      place.libvirt_network)


def desired_nics(vm: VirtualMachine, host: Host, survey: Survey) -> tuple[DesiredNic, ...]:
    """Return the cards of a VM as they should be on `host`, without those that are kept."""
    return tuple(desired_nic(nic, host, survey) for nic in vm.spec.nics if not nic.kept)


def takes_tags(host: Host, survey: Survey) -> bool:
    """Return whether a Linux bridge's card may have a tag in its definition on a host."""
    node = survey.nodes.get(host.name)
    major = "" if node is None else node.versions.get("libvirt", "").partition(".")[0]
    return major.isdecimal() and int(major) >= TAGS_SINCE


def no_switch(host: Host, survey: Survey) -> str | None:
    """Return why no card can be plugged in on `host`; None if its driver has its bridge."""
    name, spec = host.name, host.spec
    node = survey.nodes.get(name)
    if node is None or spec.driver == "none":
        return None
    if spec.driver == LINUXBRIDGE:
        return (f"the network devices of {name} were never shown: install iproute2 there"
                if isinstance(node.links, Absent) else None)
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
    if card.port_type not in {None, "", OPENVSWITCH}:
        return f"is plugged in as `{card.port_type}`"
    return None


def is_card(nic: NicSpec, seen: NicFacts, place: Attachment, driver: str) -> bool:
    """Return whether a card is as declared; a quick check that nearly always suffices."""
    return (nic.mac == seen.mac and seen.bridge == place.bridge and seen.kind == "bridge"
            and (seen.vlan == place.vlan and seen.port_type in {None, OPENVSWITCH}
                 if driver == OPENVSWITCH else seen.vlan is None and not seen.port_type)
            and (seen.model is None or seen.model == nic.model))


def why_left_alone(card: NicFacts, nic: NicSpec, host: Host, survey: Survey) -> str | None:
    """Return why a declared card is never changed; empty if it is right without; else None."""
    if nic.kept:
        return ""
    place, odd = place_of(nic, host, survey), left_alone(card)
    if odd is None and not place.libvirt_network:
        return None
    if card.kind == "network" and not card.trunks and (
            card.network == place.libvirt_network if place.libvirt_network
            else card.bridge == place.bridge and card.vlan == place.vlan):
        return ""
    return odd or f"is on {_where(card)}"


def nic_changes(vm: VirtualMachine, seen: DomainConfig, host: Host, survey: Survey, *, live: bool,
                say: Say, take: Say, restart: Say, remark: Say) -> list[DomainChange]:
    """Return the changes of the cards; cards are managed only where `nics` is declared."""
    if "nics" not in vm.spec.model_fields_set or host.spec.driver == "none":
        return []
    missing = no_switch(host, survey)
    if missing is not None:
        remark(f"{vm.name}'s cards are left as they are: {missing}")
        return []
    changes: list[DomainChange] = []
    present = {nic.mac: nic for nic in seen.nics}
    for nic in vm.spec.nics:
        card = present.pop(nic.mac, None)
        if card is None:
            missing = no_new_card(nic)
            if missing is None:
                changes.append(AttachNic(desired_nic(nic, host, survey)))
                say(f"card {nic.mac} on {nic.network} is missing")
            else:
                remark(f"{vm.name}'s card {nic.mac} is missing and {missing}")
            continue
        odd = why_left_alone(card, nic, host, survey)
        if odd:
            remark(f"{vm.name}'s card {nic.mac} {odd}: it is left as it is; plug it into"
                   f" {place_of(nic, host, survey)} ({nic.network}) by hand, declare it with"
                   " `source: keep`, or leave `nics` out of its spec")
        elif odd is None and _is_other(card, nic, host, survey, live=live, say=say,
                                       restart=restart):
            changes.append(UpdateNic(desired_nic(nic, host, survey)))
    for mac, card in sorted(present.items()):
        odd = left_alone(card)
        if odd is not None:
            remark(f"{vm.name} has a card {mac} that is not declared and {odd}: it is left alone")
            continue
        changes.append(DetachNic(mac))
        take(f"card {mac} on {_where(card)} is not declared")
    return changes


def no_new_card(nic: NicSpec) -> str | None:
    """Return why such a card is never made new; None if it can be."""
    if nic.kept:
        return ("a card with `source: keep` is never made: plug it in by hand, or declare its"
                " network without `source:`")
    if nic.model in MODELS:
        return None
    return (f"no new card of model `{nic.model}` is made: declare one of"
            f" {', '.join(sorted(MODELS))}")


def _is_other(card: NicFacts, nic: NicSpec, host: Host, survey: Survey, *, live: bool, say: Say,
              restart: Say) -> bool:
    """Return whether an access card has to be changed in this XML, and say why."""
    desired = desired_nic(nic, host, survey)
    linux = desired.driver == LINUXBRIDGE
    tags = {desired.vlan, None} if linux else {desired.vlan}
    differs = card.bridge != desired.bridge or card.vlan not in tags
    if differs:
        say(f"card {card.mac} is on {_where(card)} and {place_of(nic, host, survey)}"
            f" ({nic.network}) is declared")
    if linux and card.port_type == OPENVSWITCH:
        words = f"card {card.mac} is plugged in as a port of Open vSwitch"
        if live:
            restart(f"{words}, which cannot be changed while it runs")
            return False
        say(words)
        differs = True
    elif not linux and not live and card.port_type == "":
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
    if card.kind == "network":
        return f"libvirt's network {card.network}"
    return f"{card.bridge} VLAN {card.vlan}" if card.vlan is not None else f"{card.bridge} untagged"
