"""Hands for the VLANs of ports of Linux bridges that look at tags, at run time only.

An uplink is changed so that the node undoes it by itself unless it is confirmed; the port of a
guest at once. A port gets what is new before it loses what is old.
"""

from collections.abc import Mapping
from typing import Any, Final

from controller.errors import OutcomeUnknown, Refused, Unavailable
from controller.plan.actions.desired import PortVlans
from controller.plan.actions.network import NarrowTrunk, SetPortVlan, WidenTrunk
from controller.plan.survey.networks.linux_bridges import NONE_PASSES
from controller.plan.survey.vlans import render_vlans
from controller.providers.commit_confirm import Switch, change_port
from controller.providers.node import Node, plain_command, safe_word
from controller.transport.json_text import parse_json

OURS: Final = Switch("linuxbridge", "the kernel's bridge")
EVERY: Final = range(1, 4095)
WAIT_S: Final = 20.0


def columns_of(passing: PortVlans) -> dict[str, str]:
    """Return the VLANs of a port, in the words that the node's end uses."""
    if passing.vlan_mode == "access" or (passing.vlan_mode is None and passing.tag is not None):
        return {"vlans": f"{passing.tag}pu"}
    listed = set(passing.vlans) - {0, *NONE_PASSES} if passing.vlans else set(EVERY)
    pvid = passing.tag
    words = [f"{part}" for part in ranges(sorted(listed - {pvid}))]
    if pvid is not None:
        at = next((place for place, part in enumerate(words)
                   if int(part.partition("-")[0]) > pvid), len(words))
        words.insert(at, f"{pvid}pu")
    return {"vlans": " ".join(words)}


def ranges(vlans: list[int]) -> list[str]:
    """Return sorted VLANs as ranges: `200-203`, `300`."""
    found: list[list[int]] = []
    for vlan in vlans:
        if found and vlan == found[-1][1] + 1:
            found[-1][1] = vlan
        else:
            found.append([vlan, vlan])
    return [str(first) if first == last else f"{first}-{last}" for first, last in found]


async def set_trunk(node: Node, action: WidenTrunk | NarrowTrunk) -> str:
    """Change what passes on an uplink, if that is still what was observed."""
    bridge, port = safe_word(action.bridge, "bridge"), safe_word(action.port, "port")
    passing = say_passing(action.will_be)
    failed = f"{port} on {node.name} was not set to carry {passing}"
    if not await change_port(node, OURS, bridge, port, columns_of(action.will_be), failed,
                             columns_of(action.was)):
        return f"{port} on {node.name} carries {passing} already"
    return (f"{port} on {node.name} now carries {passing}, confirmed over a new connection, until"
            " its next reboot")


def say_passing(passing: PortVlans) -> str:
    """Return what passes, in words."""
    vlans = [vlan for vlan in passing.vlans if vlan not in {0, passing.tag}]
    tagged = "every VLAN" if not passing.vlans else render_vlans(vlans)
    return tagged if passing.tag is None else f"{tagged}, untagged frames as VLAN {passing.tag}"


async def set_port_vlan(node: Node, action: SetPortVlan) -> str:
    """Put a guest's live port on its VLAN, if it is still that guest's port.

    libvirt gives a port the guest's MAC with another first byte.
    """
    port, vlan = safe_word(action.port, "port"), action.vlan
    failed = f"{port} on {node.name} was not put on VLAN {vlan}"
    rows = await iproute2(node, "ip", "link", "show", "dev", port, failed=failed)
    row = next((one for one in rows if one.get("ifname") == port), None)
    if row is None or row.get("master") != action.bridge:
        raise Refused(f"{failed}: it is not plugged into {action.bridge} any more")
    if str(row.get("address", ""))[3:] != action.mac.lower()[3:]:
        raise Refused(f"{failed}: it now belongs to {row.get('address') or 'nobody'}, not to"
                      f" {action.mac}")
    found = await iproute2(node, "bridge", "vlan", "show", "dev", port, failed=failed)
    present = vlans_of(found, port)
    lines = [f"vlan add dev {port} vid {vlan} pvid untagged"]
    lines += [f"vlan del dev {port} vid {part}" for part in ranges(sorted(present - {vlan or 0}))]
    reply = await node.run(plain_command("bridge", "-batch", "-", timeout_s=WAIT_S,
                                         text="".join(f"{line}\n" for line in lines)))
    if reply.exit_status < 0:
        raise OutcomeUnknown(f"{failed} for certain: `bridge` was ended; it is looked at again")
    if reply.exit_status != 0:
        raise Refused(f"{failed}: {complaint_of(reply.stderr)}")
    return f"put {port} ({action.mac}) on {node.name} on VLAN {vlan}"


def vlans_of(found: Any, port: str) -> set[int]:
    """Return the VLANs of a port, from either form of `bridge -json vlan`."""
    rows = found.get(port, []) if isinstance(found, Mapping) else [
        vlan for row in found if row["ifname"] == port for vlan in row.get("vlans", ())]
    return {vlan for row in rows for vlan in range(row["vlan"], row.get("vlanEnd",
                                                                        row["vlan"]) + 1)}


async def iproute2(node: Node, program: str, *words: str, failed: str) -> Any:
    """Return what a program of iproute2 shows.

    Errors: Refused, Unavailable.
    """
    reply = await node.run(plain_command(program, "-json", *words, timeout_s=WAIT_S))
    if reply.exit_status != 0:
        raise Refused(f"{failed}: {complaint_of(reply.stderr)}")
    try:
        return parse_json(reply.stdout or "[]")
    except ValueError as error:
        raise Unavailable(f"{failed}: {program} answered with something that is not understood"
                          f" ({error}); it is tried again") from error


def complaint_of(stderr: str) -> str:
    """Return a program's error output as one short line."""
    return "; ".join(line.strip() for line in stderr.splitlines() if line.strip())[:300] or (
        "it gave no reason")
