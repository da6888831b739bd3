"""Persistent: whether what a host's Linux bridges do now comes back after a reboot.

Nothing is ever written into the files of the tool that sets the network up: it would fight back, or
take the host off the network at its next run. So this says what is missing, and the words to add.

    bridge or uplink    set up by a tool that is known, or by hand, and then gone at a reboot
    VLANs of an uplink  those that are declared are in the files of that tool

Unknown is not absent: where no tool is known, or its words about VLANs are not, it is unknown.
"""

from collections.abc import Iterator
from typing import Final

from controller.model.condition import Condition, ConditionType, Status
from controller.model.host import Host
from controller.model.linux.links import LinkFacts, Links
from controller.plan.network.linux_bridge import trunks_of
from controller.plan.survey.networks.attachment import LINUXBRIDGE, bridges_of
from controller.plan.survey.networks.linux_bridges import GUESTS, uplinks_of
from controller.plan.survey.silence import known_of
from controller.plan.survey.survey import Survey
from controller.plan.survey.vlans import render_vlans

Answer = tuple[Status, str, str]
IFUPDOWN: Final = "ifupdown"


def persistent_conditions(survey: Survey) -> list[Condition]:
    """Return Persistent of every host with Linux bridges."""
    return [Condition(f"Host/{name}", ConditionType.PERSISTENT, *persistent(host, survey),
                      survey.desired.revision)
            for name, host in sorted(survey.desired.hosts.items())
            if host.spec.driver == LINUXBRIDGE and name not in survey.lost]


def persistent(host: Host, survey: Survey) -> Answer:
    """Return whether the network of one host comes back after a reboot."""
    node = survey.nodes.get(host.name)
    links = None if node is None else known_of(node.links)
    if links is None:
        return (Status.UNKNOWN, "CannotBeSeen",
                f"the network devices of {host.name} cannot be seen")
    lost = [*_by_hand(host, links), *_vlans(host, links, survey)]
    sure = [words for known, words in lost if known]
    if sure:
        return Status.FALSE, "NotWritten", "; ".join(sure)
    if lost:
        return Status.UNKNOWN, "NotUnderstood", "; ".join(words for _, words in lost)
    return (Status.TRUE, "Written", f"its bridges are set up by {', '.join(links.tools)}"
            if links.tools else "none of its bridges is used")


def _by_hand(host: Host, links: Links) -> Iterator[tuple[bool, str]]:
    """Yield each bridge and uplink that no tool has set up, and whether that is sure."""
    for name in bridges_of(host):
        bridge = links.links.get(name)
        if bridge is None or bridge.kind != "bridge":
            continue
        for link in (bridge, *uplinks_of(name, host.spec, links)):
            if link.tool or link.kind in GUESTS:
                continue
            if not links.tools:
                yield False, (f"what set {link.name} of {host.name} up is not known: no tool that"
                              " is known runs there")
            else:
                yield True, (f"{link.name} of {host.name} was set up by hand and is gone after a"
                             f" reboot: {stanza(links.tools[0], link, name)}")


def stanza(tool: str, link: LinkFacts, bridge: str) -> str:
    """Return what to write so that a bridge, or its uplink, is there again."""
    port = link.name != bridge
    if tool.startswith(IFUPDOWN):
        words = f"bridge_ports … {link.name}" if port else "bridge_ports UPLINK"
        return f"in /etc/network/interfaces write `{words}` below `iface {bridge} inet …`"
    if tool == "NetworkManager":
        return (f"nmcli connection add type ethernet ifname {link.name} master {bridge}" if port
                else f"nmcli connection add type bridge ifname {bridge}")
    if tool == "netplan":
        return (f"in /etc/netplan/*.yaml write `{link.name}` under `bridges: {bridge}: interfaces:`"
                if port else f"in /etc/netplan/*.yaml write `bridges: {{{bridge}: …}}`")
    return (f"in a .network file that matches {link.name} write `[Network] Bridge={bridge}`" if port
            else f"write a .netdev file with `[NetDev] Name={bridge} Kind=bridge`")


def _vlans(host: Host, links: Links, survey: Survey) -> Iterator[tuple[bool, str]]:
    """Yield each uplink whose declared VLANs its tool's files do not give it."""
    for bridge, trunk in trunks_of(host, links, survey):
        link = links.links[trunk.port]
        missing = sorted(set(trunk.wanted.vlans) - set(link.kept or ()))
        if not missing or not link.tool:
            continue
        if link.kept is None:
            yield False, (f"which VLANs {link.tool} gives {link.name} of {host.name} at a reboot is"
                          f" not known: {vlan_stanza(link, bridge, missing)}")
        else:
            yield True, (f"{link.name} of {host.name} lets {render_vlans(missing)} pass until its"
                         f" next reboot only: {vlan_stanza(link, bridge, missing)}")


def vlan_stanza(link: LinkFacts, bridge: str, vlans: list[int]) -> str:
    """Return what to write so that a port has its VLANs again."""
    listed = render_vlans(vlans).replace(", ", " ")
    parts = listed.split()
    if link.tool == "ifupdown2":
        return (f"in /etc/network/interfaces add `{listed}` to `bridge-vids` below"
                f" `iface {bridge}`")
    if link.tool == IFUPDOWN:
        words = " and ".join(f"`post-up bridge vlan add dev {link.name} vid {one}`"
                             for one in parts)
        return f"in /etc/network/interfaces write {words} below `iface {bridge}`"
    if link.tool == "NetworkManager":
        return (f"nmcli connection modify CONNECTION-OF-{link.name} +bridge-port.vlans"
                f" '{', '.join(parts)}'")
    words = " ".join(f"VLAN={one}" for one in parts)
    if link.tool == "netplan":
        return (f"netplan has no words for it; write `[BridgeVLAN] {words}` into"
                f" /etc/systemd/network/10-netplan-{link.name}.network.d/vlans.conf, a line each")
    return f"in the .network file of {link.name} write `[BridgeVLAN] {words}`, a line each"
