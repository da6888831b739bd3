"""Cards in libvirt's XML by where their host has their network: Linux bridges, libvirt networks."""

import pytest

from controller.plan.actions.desired import DesiredNic, UpdateNic
from controller.providers.libvirt.facts import parse_nic
from controller.providers.libvirt.xml.device import place_nic, render_nic
from controller.providers.libvirt.xml.domain import patch_domain, place_nics
from controller.providers.libvirt.xml.xml import parse_xml

MAC = "52:54:00:00:00:01"
OVS = DesiredNic(MAC, "br0", 40, "virtio")
PLAIN = DesiredNic(MAC, "br7", None, "virtio", "linuxbridge")
TAGGED = DesiredNic(MAC, "br7", 40, "virtio", "linuxbridge")
NAT = DesiredNic(MAC, "", None, "virtio", "linuxbridge", "default")
PLACES = {"Open vSwitch": OVS, "a plain bridge": PLAIN, "a bridge with a tag": TAGGED,
          "a libvirt network": NAT}
BEFORE = {
    "Open vSwitch": "<interface type='bridge'><mac address='52:54:00:00:00:01'/>"
                    "<source bridge='br0'/><vlan><tag id='40'/></vlan>"
                    "<virtualport type='openvswitch'><parameters interfaceid='u'/></virtualport>"
                    "<model type='e1000'/><boot order='2'/></interface>",
    "a plain bridge": "<interface type='bridge'><mac address='52:54:00:00:00:01'/>"
                      "<source bridge='br1'/><model type='e1000'/><boot order='2'/></interface>",
    "a libvirt network": "<interface type='network'><mac address='52:54:00:00:00:01'/>"
                         "<source network='n' portid='p' bridge='virbr0'/><model type='e1000'/>"
                         "<boot order='2'/></interface>",
}


def where(card: str) -> tuple[str, str, str, int | None, str]:
    nic = parse_nic(parse_xml(card))
    return nic.kind, nic.bridge, nic.network, nic.vlan, nic.port_type or ""


def domain(card: str) -> str:
    return f"<domain type='qemu'><name>a</name><devices>{card}</devices></domain>"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("before", BEFORE)
def test_a_card_comes_to_its_next_host_with_nothing_of_the_last(before: str, place: str) -> None:
    text = place_nics(domain(BEFORE[before]), (PLACES[place],))
    card = parse_xml(text).find("devices/interface")
    assert card is not None
    nic = parse_nic(card)
    fresh = parse_nic(render_nic(PLACES[place]))
    assert (nic.kind, nic.bridge, nic.network, nic.vlan, nic.port_type) == (
        fresh.kind, fresh.bridge, fresh.network, fresh.vlan, fresh.port_type)
    assert nic.model == "e1000"
    assert card.find("boot") is not None
    source = card.find("source")
    assert source is not None
    assert len(source.attrib) == 1


@pytest.mark.parametrize("card", [
    "<interface type='direct'><source dev='eno1' mode='bridge'/></interface>",
    "<interface type='user'/>",
    "<interface type='hostdev' managed='yes'/>",
    "<interface type='bridge'><source bridge='b'/><vlan trunk='yes'><tag id='1'/></vlan>"
    "</interface>",
    "<interface type='bridge'><source bridge='b'/><virtualport type='802.1Qbg'/></interface>",
])
def test_any_other_card_stays_as_it_is(card: str) -> None:
    element = parse_xml(card)
    assert not place_nic(element, PLAIN)
    assert place_nics(domain(card), ()) == place_nics(domain(card), ())


def test_a_card_in_its_place_is_not_changed() -> None:
    for nic in PLACES.values():
        assert not place_nic(render_nic(nic), nic)


@pytest.mark.parametrize("nic", [PLAIN, TAGGED])
def test_a_patch_leaves_no_port_of_open_vswitch_behind(nic: DesiredNic) -> None:
    text = patch_domain(domain(BEFORE["Open vSwitch"]), (UpdateNic(nic),))
    assert "virtualport" not in text
    assert ("<vlan>" in text) is (nic.vlan is not None)


def test_a_patch_never_moves_a_card_off_a_libvirt_network() -> None:
    with pytest.raises(ValueError, match="kind network"):
        patch_domain(domain(BEFORE["a libvirt network"]), (UpdateNic(PLAIN),))
