"""
The network of a drill: bridges that nothing but its guests' cards is ever put on.

No uplink, no address, no patch to another bridge: what a drilled guest sends ends here. With Open
vSwitch one bridge carries the VLAN tags of all cards, as in production; a Linux bridge is made for
each tag, since its cards are put on it untagged.
"""

from __future__ import annotations

import os
import subprocess
from typing import Dict, List, Set

from mover.errors import TryAgain

BRIDGE = "hsd"                  # how their names begin; a card's name has at most 15 characters
PATIENCE_S = 15
OVS_SOCKET = "/run/openvswitch/db.sock"


def has_ovs() -> bool:
    """Return whether this host runs Open vSwitch."""
    return os.path.exists(OVS_SOCKET)


def bridges_of(base: str, tags: Set[str], *, ovs: bool) -> Dict[str, str]:
    """Return the bridge for each VLAN tag; empty: untagged."""
    if ovs:
        return dict.fromkeys(tags, base)
    return {tag: base + chr(ord("a") + number) for number, tag in enumerate(sorted(tags))}


def make_bridge(name: str, *, ovs: bool) -> None:
    """
    Make a bridge without any port; one of that name may be there, and has none.

    Errors: TryAgain where it cannot be made, or has a port: that could lead anywhere.
    """
    if ovs:
        kinds = output(["ovs-vsctl", "--timeout=10", "--bare", "--columns=datapath_type", "list",
                        "bridge"]).split()
        words = ["--", "set", "bridge", name, "datapath_type=netdev"] if "netdev" in kinds else []
        output(["ovs-vsctl", "--timeout=10", "--may-exist", "add-br", name, *words])
        ports = output(["ovs-vsctl", "--timeout=10", "list-ports", name]).split()
    else:
        if not os.path.exists("/sys/class/net/" + name):
            output(["ip", "link", "add", name, "type", "bridge", "stp_state", "0"])
        below = "/sys/class/net/%s/brif" % name
        ports = os.listdir(below) if os.path.exists(below) else []
    if ports:
        raise TryAgain("bridge %s has a port already (%s): nothing may lead out of a drill" % (
            name, ", ".join(sorted(ports))))
    own = "/proc/sys/net/ipv6/conf/%s/disable_ipv6" % name
    if os.path.exists(own):     # the host gets no address in it, not even one made by itself
        with open(own, "w", encoding="ascii") as file:
            file.write("1")
    if not ovs:
        output(["ip", "link", "set", name, "up"])


def remove_ports(names: List[str]) -> None:
    """
    Remove the links of a drill's prober; one that is not there is none.

    Errors: TryAgain.
    """
    for name in names:
        path = "/sys/class/net/" + name
        try:
            if name.startswith(BRIDGE) and os.path.exists(path):
                output(["ip", "link", "delete", name])
        except TryAgain:
            if os.path.exists(path):    # it may go by itself at the same time
                raise


def remove_bridges(names: List[str]) -> None:
    """
    Remove bridges of drills; one that is not there is none.

    Errors: TryAgain.
    """
    for name in names:
        if not name.startswith(BRIDGE):
            continue
        if has_ovs():
            output(["ovs-vsctl", "--timeout=10", "--if-exists", "del-br", name])
        if os.path.exists("/sys/class/net/%s/bridge" % name):
            output(["ip", "link", "delete", name])


def output(words: List[str]) -> str:
    """Return what a program writes; TryAgain where it fails."""
    try:
        done = subprocess.run(words, check=False, stdin=subprocess.DEVNULL, capture_output=True,
                              encoding="utf-8", errors="replace", timeout=PATIENCE_S,
                              env={**os.environ, "LC_ALL": "C"})
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TryAgain("%s: %s" % (words[0], error)) from None
    if done.returncode != 0:
        raise TryAgain("%s: %s" % (" ".join(words), done.stderr.strip() or "no reason given"))
    return done.stdout
