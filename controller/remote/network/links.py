"""The network devices of this machine, what they are plugged into, and the VLANs of bridge ports.

From `ip` and `bridge` of iproute2, whose JSON has changed over the years: `bridge -json vlan` was
an object by port and is a list now, and may write ranges. Each part fails alone and then says why:
a machine without the program `bridge` still shows its devices.

    {"links": [row], "vlans": {port: [[first, last, "pvid,untagged"], …]} | {"unknown": sentence},
     "networks": [row] | {"unknown": sentence}, "tools": [tool],
     "kept": {device: {"tool", "vlans"}}}
"""

import json
import re
import shutil
import xml.etree.ElementTree as ET

from programs import VIRSH, NoAnswer, Output, lines_of, output_of, run_all

from network.files import kept_of, tools_of

BRIDGE = ("bridge", "-json", "vlan", "show")
LISTS = ("net-list --all --name", "net-list --name", "net-list --all --autostart --name")
NO_VLANS = {"unknown": "the program `bridge` is not installed there: it is in iproute2"}
NAME = re.compile(r"[^\n\"\\;]+")


class Links:
    """The section `links`; remembers which networks libvirt has, to ask for them at once."""

    def __init__(self) -> None:
        self.names = ()

    def programs(self) -> dict:
        """Return the programs (name -> argv) to run beside `ip`."""
        found = {}
        if shutil.which(BRIDGE[0]):
            found["vlans"] = BRIDGE
        if shutil.which(VIRSH[0]):
            found["networks"] = self.question()
        return found

    def question(self) -> tuple:
        """Return one virsh that lists libvirt's networks and shows those known."""
        asked = [*LISTS, *(f'net-dumpxml "{name}"' for name in self.names)]
        return (*VIRSH, "; echo @@; ".join([*asked, "uri"]))

    def section(self, outputs: dict) -> dict:
        """Return the section; NoAnswer in it where not even the devices can be shown."""
        try:
            rows = links_of(outputs["interfaces"])
        except NoAnswer as reason:
            return {"links": reason}
        return {"links": json.dumps({
            "links": rows, "vlans": part(lambda: vlans_of(outputs.get("vlans"))),
            "networks": part(lambda: self.networks(outputs.get("networks"))),
            "tools": tools_of(), "kept": kept_of([row["name"] for row in rows if kept(row)])})}

    def networks(self, output: "Output | None") -> list:
        """Return the rows of libvirt's networks; asks once more for those that are new."""
        if output is None:
            return []
        text = output_of_lists(output)
        names = tuple(name for name in lines_of(text[0]) if NAME.fullmatch(name))
        if names != self.names or len(text) != len(LISTS) + len(names) + 1:
            self.names = names
            text = output_of_lists(run_all({"": self.question()})[""])
        if len(text) != len(LISTS) + len(names) + 1:
            self.names = ()
            raise NoAnswer("libvirt's answer about its networks is not whole")
        active, autostart = set(lines_of(text[1])), set(lines_of(text[2]))
        return [{"active": name in active, "autostart": name in autostart, **network_of(name, xml)}
                for name, xml in zip(names, text[len(LISTS):])]


def output_of_lists(output: Output) -> list:
    """Return the answers of one virsh, one for each question."""
    return [one.strip("\n") for one in output_of(output, "libvirt").split("@@\n")]


def network_of(name: str, xml: str) -> dict:
    """Return a network's name, bridge and way out; one that makes no sense says so."""
    try:
        root = ET.fromstring(xml)
    except ET.ParseError:
        return {"name": name, "bridge": "", "forward": "", "unknown": "libvirt does not show it"}
    forward, bridge = root.find("forward"), root.find("bridge")
    return {"name": name, "bridge": "" if bridge is None else bridge.get("name", ""),
            "forward": "isolated" if forward is None else forward.get("mode", "nat")}


def part(look: object) -> object:
    """Return one part of the section, or why it is unknown."""
    try:
        return look()
    except NoAnswer as reason:
        return {"unknown": str(reason)}


def links_of(output: Output) -> list:
    """Return every device, loopback aside, sorted by name."""
    text = output_of(output, "`ip` of iproute2")
    try:
        rows = [link_of(row) for row in json.loads(text) if row.get("ifname")]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise NoAnswer("`ip -json` did not answer as iproute2 does: install its package") from None
    return sorted((row for row in rows if row["name"] != "lo"), key=lambda row: row["name"])


def link_of(row: dict) -> dict:
    """Return one device: its kind, its state, and what it is stacked on or plugged into."""
    info = row.get("linkinfo") or {}
    kind, data, flags = info.get("info_kind", ""), info.get("info_data") or {}, row["flags"]
    found = {"name": row["ifname"], "kind": kind, "up": "UP" in flags,
             "link_up": "LOWER_UP" in flags if "UP" in flags else None,
             "master": row.get("master") or "",
             "parent": "" if kind == "veth" else row.get("link") or ""}  # a veth's is its other end
    if kind == "vlan":
        found["vlan"] = data.get("id")
    if kind == "bridge":
        found["filtering"] = bool(data.get("vlan_filtering"))
        found["pvid"] = data.get("vlan_default_pvid")
        found["stp"] = bool(data.get("stp_state"))
    return found


def kept(row: dict) -> bool:
    """Return whether a device is one that the machine's own configuration should hold."""
    return row["kind"] not in ("tun", "veth", "macvtap", "dummy", "ifb", "openvswitch")


def vlans_of(output: "Output | None") -> dict:
    """Return the VLANs of each port of each bridge, as ranges with their flags."""
    if output is None:
        return NO_VLANS
    text = output_of(output, "`bridge` of iproute2")
    try:
        found = json.loads(text or "[]")
        rows = found.items() if isinstance(found, dict) else (
            (row["ifname"], row.get("vlans") or ()) for row in found)
        return {port: [range_of(one) for one in vlans] for port, vlans in rows}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise NoAnswer("`bridge -json` did not answer as iproute2 does") from None


def range_of(row: dict) -> list:
    """Return the first and last VLAN of one entry, and its flags."""
    flags = ",".join(word for word, said in (("pvid", "PVID"), ("untagged", "Egress Untagged"))
                     if said in (row.get("flags") or ()))
    return [row["vlan"], row.get("vlanEnd", row["vlan"]), flags]
