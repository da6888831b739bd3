"""Facts parsed from Open vSwitch's output, as recorded in the lab."""

import json
from pathlib import Path

import pytest

from controller.model.facts import BridgeFacts, PortFacts
from controller.providers.openvswitch.facts import parse_bridges

RECORDED = Path(__file__).parents[2] / "transcripts/openvswitch"


def bridge(name: str) -> BridgeFacts:
    return parse_bridges(json.loads((RECORDED / f"{name}.json").read_text())["bridges"])["br0"]


def test_a_guests_port_has_its_tag_and_its_owner() -> None:
    assert bridge("host").ports["vnet10"] == PortFacts(
        "vnet10", tag=301, trunks=(), vlan_mode=None, link_up=True,
        attached_mac="52:54:00:0a:0a:01")


def test_an_uplink_that_lets_everything_pass_has_no_tag_and_no_trunks() -> None:
    assert bridge("host").ports["up0"] == PortFacts(
        "up0", tag=None, trunks=(), vlan_mode=None, link_up=True)


def test_a_switch_tells_the_role_of_each_trunk() -> None:
    switch = bridge("switch")
    assert switch.rstp_enabled
    assert (switch.ports["tr0"].rstp_role, switch.ports["tr1"].rstp_role) == ("Root", "Alternate")


@pytest.mark.parametrize(("cell", "trunks"), [
    (["set", []], ()), (40, (40,)), (["set", [40, 30, 200]], (30, 40, 200)), (0, (0,)),
])
def test_trunks_are_a_sorted_tuple_however_they_are_written(
        cell: object, trunks: tuple[int, ...]) -> None:
    tables = json.loads(json.loads((RECORDED / "host.json").read_text())["bridges"])
    column = tables["Port"]["headings"].index("trunks")
    name = tables["Port"]["headings"].index("name")
    for row in tables["Port"]["data"]:
        if row[name] == "up0":
            row[column] = cell
    assert parse_bridges(json.dumps(tables))["br0"].ports["up0"].trunks == trunks


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Bridge": {"data": [[1]], "headings": []}}'])
def test_half_an_answer_is_no_answer(text: str) -> None:
    with pytest.raises(ValueError, match=r"not understood|longer"):
        parse_bridges(text)


def test_a_bond_a_mirrors_output_and_a_port_outside_the_tree_are_told_as_such() -> None:
    def table(*rows: dict[str, object]) -> dict[str, object]:
        return {"headings": list(rows[0]), "data": [list(row.values()) for row in rows]}

    def port(number: int, **more: object) -> dict[str, object]:
        return {"_uuid": ["uuid", f"p{number}"], "name": f"port{number}", "tag": ["set", []],
                "interfaces": ["uuid", f"i{number}"], "trunks": ["set", []],
                "vlan_mode": ["set", []], "rstp_status": ["map", []],
                "other_config": ["map", []]} | more

    def interface(number: int, kind: str = "") -> dict[str, object]:
        return {"_uuid": ["uuid", f"i{number}"], "name": f"if{number}", "type": kind,
                "link_state": "up", "external_ids": ["map", []]}

    text = json.dumps({
        "Bridge": table({"_uuid": ["uuid", "b"], "name": "br0", "rstp_enable": False,
                         "ports": ["set", [["uuid", f"p{n}"] for n in (1, 2, 3)]],
                         "stp_enable": True, "mirrors": ["uuid", "m"]}),
        "Port": table(port(1, interfaces=["set", [["uuid", "i2"], ["uuid", "i1"]]]), port(2),
                      port(3, interfaces=["uuid", "i3"],
                           other_config=["map", [["rstp-enable", "false"]]])),
        "Interface": table(interface(1), interface(2), interface(3, "patch")),
        "Mirror": table({"_uuid": ["uuid", "m"], "output_port": ["uuid", "p2"],
                         "output_vlan": 300}),
    })
    found = parse_bridges(text)["br0"]
    assert (found.stp_enabled, found.mirror_vlans) == (True, (300,))
    assert found.ports["port1"].members == ("if1", "if2")
    assert [one.mirror for one in found.ports.values()] == [False, True, False]
    assert [one.in_tree for one in found.ports.values()] == [True, True, False]
    assert found.ports["port3"].kind == "patch"
