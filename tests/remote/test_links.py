"""The section `links` of the facts script, from what iproute2 and the tools of a host leave."""

import json
from pathlib import Path
from typing import Any

import pytest

from controller.providers.linuxbridge.facts import parse_links


class Said:
    """What a program wrote, as the facts script keeps it."""

    def __init__(self, out: str = "", status: int = 0, err: str = "", failure: str = "") -> None:
        self.out, self.err, self.status, self.failure = (
            bytearray(out.encode()), bytearray(err.encode()), status, failure)


def section(monkeypatch: Any, outputs: dict[str, Said], root: Path | None = None) -> Any:
    from network import files, links
    monkeypatch.setattr(files, "ROOT", str(root or "/nowhere"))
    return links.Links().section(outputs)["links"]


def ip(*rows: dict[str, Any]) -> Said:
    return Said(json.dumps([{"flags": ["UP", "LOWER_UP"]} | row for row in rows]))


def bridge(**data: Any) -> dict[str, Any]:
    return {"ifname": "br0", "linkinfo": {"info_kind": "bridge", "info_data": data}}


@pytest.mark.parametrize("text", [
    '[{"ifname":"eno1","vlans":[{"vlan":1,"flags":["PVID","Egress Untagged"]},'
    '{"vlan":200,"vlanEnd":203},{"vlan":300}]}]',
    '{"eno1":[{"vlan":1,"flags":["PVID","Egress Untagged"]},{"vlan":200},{"vlan":201},'
    '{"vlan":202},{"vlan":203},{"vlan":300}]}',
], ids=["a list with ranges", "an object, as before 2018"])
def test_vlans_are_read_as_each_version_writes_them(monkeypatch: Any, text: str) -> None:
    found = parse_links(section(monkeypatch, {
        "interfaces": ip(bridge(vlan_filtering=1, vlan_default_pvid=1),
                         {"ifname": "eno1", "master": "br0"}), "vlans": Said(text)}))
    assert found.vlans["eno1"].tagged == {200, 201, 202, 203, 300}
    assert (found.vlans["eno1"].untagged, found.vlans["eno1"].pvid) == ({1}, 1)
    assert found.links["br0"].filtering
    assert found.links["eno1"].master == "br0"


@pytest.mark.parametrize(("said", "words"), [
    (None, "it is in iproute2"), (Said("{", 0), "as iproute2 does"),
    (Said("", 255, "Cannot open netlink socket"), "Cannot open netlink socket"),
    (Said(failure="did not answer within 5 s"), "did not answer within 5 s"),
    (Said('[{"ifname":"eno1","vlans":[{}]}]'), "as iproute2 does")])
def test_without_the_vlans_the_devices_are_still_seen(monkeypatch: Any, said: Said | None,
                                                      words: str) -> None:
    outputs = {"interfaces": ip(bridge(vlan_filtering=1))} | ({"vlans": said} if said else {})
    found = parse_links(section(monkeypatch, outputs))
    assert words in found.vlans_unknown
    assert found.links["br0"].filtering


@pytest.mark.parametrize("said", [Said("ip: unknown option -json", 1), Said("[{}", 0),
                                  Said('[{"ifname":"eno1"}]'), Said(failure="did not answer")])
def test_without_the_devices_nothing_is_said(monkeypatch: Any, said: Said) -> None:
    assert isinstance(section(monkeypatch, {"interfaces": said}), Exception)


def test_each_kind_of_device_is_what_it_is(monkeypatch: Any) -> None:
    rows = [
        {"ifname": "lo", "flags": ["UP"]}, {"ifname": "eno1", "master": "bond0"},
        {"ifname": "eno2", "flags": ["UP", "NO-CARRIER"], "master": "bond0"},
        {"ifname": "eno3", "flags": ["BROADCAST"]},
        {"ifname": "bond0", "linkinfo": {"info_kind": "bond", "info_data": {"mode": "802.3ad"}}},
        {"ifname": "bond0.200", "link": "bond0", "master": "br0",
         "linkinfo": {"info_kind": "vlan", "info_data": {"protocol": "802.1Q", "id": 200}}},
        bridge(vlan_filtering=0, stp_state=1),
        {"ifname": "macvtap0", "link": "eno1", "linkinfo": {"info_kind": "macvtap"}},
        {"ifname": "vnet3", "master": "br0", "linkinfo": {"info_kind": "tun"}},
        {"ifname": "veth0", "link_index": 4, "link_netnsid": 0, "linkinfo": {"info_kind": "veth"}},
        {"ifname": "ovs-br", "linkinfo": {"info_kind": "openvswitch"}}]
    found = parse_links(section(monkeypatch, {"interfaces": ip(*rows), "vlans": Said("[]")}))
    assert "lo" not in found.links
    by = {name: (one.kind, one.link_up, one.master, one.parent, one.vlan)
          for name, one in found.links.items()}
    assert by == {
        "eno1": ("", True, "bond0", "", None), "eno2": ("", False, "bond0", "", None),
        "eno3": ("", None, "", "", None), "bond0": ("bond", True, "", "", None),
        "bond0.200": ("vlan", True, "br0", "bond0", 200), "br0": ("bridge", True, "", "", None),
        "macvtap0": ("macvtap", True, "", "eno1", None), "vnet3": ("tun", True, "br0", "", None),
        "veth0": ("veth", True, "", "", None), "ovs-br": ("openvswitch", True, "", "", None)}
    assert found.links["br0"].stp


LISTS = "default\nhost bridge\n@@\ndefault\n@@\n@@\n"
SHOWN = ("<network><name>default</name><forward mode='nat'/><bridge name='virbr0'/></network>\n"
         "@@\n<network><name>host bridge</name><forward mode='bridge'/><bridge name='br0'/>"
         "</network>\n@@\nqemu:///system\n")


def test_libvirts_networks_are_asked_for_again_when_there_are_others(monkeypatch: Any) -> None:
    from network import links
    asked = []

    def run_all(programs: dict[str, tuple[str, ...]]) -> dict[str, Said]:
        asked.append(programs[""])
        return {"": Said(LISTS + SHOWN)}

    monkeypatch.setattr(links, "run_all", run_all)
    host = links.Links()
    found = host.networks(Said(LISTS + "qemu:///system\n"))
    assert [(one["name"], one["bridge"], one["forward"], one["active"]) for one in found] == [
        ("default", "virbr0", "nat", True), ("host bridge", "br0", "bridge", False)]
    assert 'net-dumpxml "host bridge"' in asked[0][-1]
    assert host.networks(Said(LISTS + SHOWN)) == found
    assert len(asked) == 1


@pytest.mark.parametrize("said", [Said("", 1, "error: failed to connect"), Said("default\n@@\n"),
                                  Said(failure="did not answer within 5 s")])
def test_libvirts_networks_are_unknown_where_libvirt_is(monkeypatch: Any, said: Said) -> None:
    from network import links
    monkeypatch.setattr(links, "run_all", lambda _: {"": said})
    found = parse_links(section(monkeypatch, {"interfaces": ip(bridge()), "networks": said}))
    assert found.networks_unknown
    assert found.links


FILES = {
    "ifupdown2": {
        "usr/sbin/ifreload": "", "run/network/ifstatenew": "eno1=eno1\nbr0=br0\n",
        "etc/network/interfaces": (
            "source interfaces.d/*\nauto br0\niface br0 inet static\n  address 10.0.0.1/24\n"
            "  bridge-ports eno1 \\\n    eno2\n  bridge-vlan-aware yes\n  bridge-vids 200-201 300\n"
        )},
    "ifupdown": {
        "run/network/ifstate": "eno1=eno1\n",
        "etc/network/interfaces": "source-directory /etc/network/interfaces.d\n",
        "etc/network/interfaces.d/br0": (
            "iface br0 inet manual\n  bridge_ports eno1\n"
            "  # post-up bridge vlan add dev eno1 vid 9\n"
            "  post-up bridge vlan add dev eno1 vid 200-201\n"
            "  up bridge vlan add dev eno1 vid 300\n")},
    "systemd-networkd": {
        "run/systemd/netif/links/7": "NETWORK_FILE=/etc/systemd/network/20-up.network\n",
        "etc/systemd/network/10-other.network": "[Match]\nName=wlan*\n[BridgeVLAN]\nVLAN=9\n",
        "etc/systemd/network/20-up.network": (
            "[Match]\nName=eno*\n[Network]\nBridge=br0\n[BridgeVLAN]\nVLAN=200-201\n"),
        "etc/systemd/network/20-up.network.d/more.conf": "[BridgeVLAN]\nVLAN=300\n"},
    "netplan": {
        "etc/netplan/01.yaml": "network: {}\n",
        "run/systemd/netif/links/7": "NETWORK_FILE=/run/systemd/network/10-netplan-eno1.network\n",
        "run/systemd/network/10-netplan-eno1.network": "[Match]\nName=eno1\n",
        "etc/systemd/network/10-netplan-eno1.network.d/vlans.conf": (
            "[BridgeVLAN]\nVLAN=200\nVLAN=201\n[BridgeVLAN]\nVLAN=300\n")},
    "NetworkManager": {
        "run/NetworkManager/devices/7": "[device]\nmanaged=true\n",
        "etc/NetworkManager/system-connections/up.nmconnection": (
            "[connection]\nid=up\ninterface-name=eno1\n[bridge-port]\nvlans=200-201,300\n")},
}


@pytest.mark.parametrize("tool", FILES)
def test_the_files_of_each_tool_say_which_vlans_a_port_has_after_a_reboot(
        tmp_path: Path, monkeypatch: Any, tool: str) -> None:
    for name, text in {"sys/class/net/eno1/ifindex": "7\n", **FILES[tool]}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = parse_links(section(monkeypatch, {
        "interfaces": ip(bridge(vlan_filtering=1), {"ifname": "eno1", "master": "br0"}),
        "vlans": Said("[]")}, tmp_path))
    assert found.links["eno1"].tool == tool
    assert found.links["eno1"].kept == (200, 201, 300)
    assert tool in found.tools


def test_a_word_that_is_no_number_makes_it_unknown(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "etc/network/interfaces"
    path.parent.mkdir(parents=True)
    path.write_text("iface br0 inet manual\n  bridge-ports eno1\n  bridge-vids $VIDS\n"
                    "iface eno1 inet manual\n")
    found = parse_links(section(monkeypatch, {
        "interfaces": ip({"ifname": "eno1"}, {"ifname": "eno2"}), "vlans": Said("[]")}, tmp_path))
    assert found.links["eno1"].kept is None
    assert (found.links["eno2"].tool, found.links["eno2"].kept) == ("", None)


@pytest.mark.parametrize("text", ["{}", "[]", '{"links": [], "kept": {}, "vlans": {}}', "no JSON"])
def test_a_section_that_makes_no_sense_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="network devices"):
        parse_links(text)
