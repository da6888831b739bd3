"""Gateways that switches hold: what cannot work, or is not safe, is told at its place."""

from pathlib import Path

import pytest

from tests.source.check.sound import SOUND
from tests.source.check.test_check import problems_of

DECLARED = "{address: 10.2.0.254, vrid: 20, preferred: paris}"
HELD = ("{address: 10.2.0.254, vrid: 20, preferred: paris, switches: {paris-sw: 10.2.0.252,"
        " milan-sw: 10.2.0.253}}")
MILAN = """\
---
kind: Switch
metadata: {name: milan-sw}
spec: {site: milan, address: 10.77.0.3, ports: [{name: t0, link: metro/1}]}
"""
ESTATE = SOUND.replace(DECLARED, HELD) + MILAN
GUEST = """\
---
kind: VirtualMachine
metadata: {name: guest}
spec: {memory: 1GiB, nics: [{network: office, mac: "52:54:00:02:00:09", address: %s}]}
"""
ONE_OF_THE_SUBNET = "write an address of the subnet"
OTHER_ROUTERS = "write `switches:` with an address of its own for each, or `mode: observed`"

EDITS = {
    "a switch that is not": ("milan-sw: 10", "milan: 10", "no Switch `milan`: write `milan-sw`"),
    "a switch's address elsewhere": ("10.2.0.253", "10.3.0.253", ONE_OF_THE_SUBNET),
    "a switch's address that is the subnet": ("10.2.0.253", "10.2.0.0", "is the first or last of"),
    "two switches with one address": ("10.2.0.253", "10.2.0.252",
                                      "10.2.0.252 is the address of `paris-sw`, too"),
    "a switch with the gateway's address": ("10.2.0.253", "10.2.0.254",
                                            "10.2.0.254 is the address of the gateway, too"),
    "the address of a node": ("address: 10.77.0.3,", "address: 10.2.0.253,",
                              "10.2.0.253 is the address of Switch/milan-sw already"),
    "no number": ("vrid: 20, ", "", "add `vrid:`"),
    "no VLAN": ("  vlan: 200\n", "", "of a network with a VLAN only"),
    "an IPv6 subnet": ("10.2.0.0/24", "fd00::/64", "switches hold IPv4 gateways only"),
    "observed, and held": ("preferred: paris, ", "mode: observed, ", "contradict each other"),
    "a switch of a site that is not spanned": (
        "sites: [paris, milan]", "sites: [paris]", "switch `milan-sw` is at site `milan`"),
}


def test_a_gateway_on_the_switches_of_both_sites_is_valid(tmp_path: Path) -> None:
    assert problems_of(tmp_path, ESTATE) == []


@pytest.mark.parametrize("mode", ["mode: observed, vrid: 20", "mode: observed"])
def test_a_gateway_of_other_routers_is_valid(tmp_path: Path, mode: str) -> None:
    assert problems_of(tmp_path, SOUND.replace(
        DECLARED, f"{{address: 10.2.0.254, {mode}}}")) == []


@pytest.mark.parametrize("what", EDITS)
def test_a_gateway_that_cannot_be_held_is_told(tmp_path: Path, what: str) -> None:
    old, new, expected = EDITS[what]
    assert old in ESTATE
    found = problems_of(tmp_path, ESTATE.replace(old, new, 1))
    assert any(expected in one for one in found), found


def test_vrrp_wants_switches(tmp_path: Path) -> None:
    found = problems_of(tmp_path, SOUND.replace("preferred: paris}", "mode: vrrp}"))
    assert [one.partition(": ")[2] for one in found] == [
        f"no switch is named that holds it: {OTHER_ROUTERS} if other routers hold it"]


@pytest.mark.parametrize("address", ["10.2.0.254", "10.2.0.253"])
def test_a_guest_has_another_address(tmp_path: Path, address: str) -> None:
    found = problems_of(tmp_path, ESTATE + GUEST % address)
    assert any(f"{address} is the address of VirtualMachine/guest already" in one
               for one in found), found
