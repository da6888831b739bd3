"""Bring the lab to the state of its specs, whatever the last test left there."""

import json
import subprocess
from pathlib import Path

from tests.lab.hotsite import Hotsite
from tests.lab.lab import Lab, wait_until
from tests.lab.witness import last_number

HOMES = {"sql": "paris-1", "web": "paris-1", "mail": "paris-2", "files": "milan-1",
         "proxy": "milan-1", "builder": "milan-2"}
"""Where placement puts each guest of the specs on an empty lab."""
PORTS = (*((switch, port) for switch in ("paris-sw", "milan-sw")
           for port in ("tr0", "tr1", "h1", "h2")),
         *((host, "up0") for host in ("paris-1", "paris-2", "milan-1", "milan-2")))
HAS_SYSTEM = "grep -l /guest/vmlinuz /etc/libvirt/qemu/*.xml 2>/dev/null; :"
CABLES = {"hs-core": ("adm-", "rep-", "bmc-"), "hs-paris-sw": ("tr", "h"),
          "hs-milan-sw": ("tr", "h")}
"""By namespace, how the links begin that are cables."""


def make_ready(lab: Lab, folder: Path) -> None:
    """Let every guest of the specs run in its usual place; the lab is built anew if need be."""
    if residue(lab):
        rebuild(lab)
    list_trunks(lab)
    try:
        settle(folder / "first")
    except AssertionError:
        rebuild(lab)
        list_trunks(lab)
        settle(folder / "again")


def rebuild(lab: Lab) -> None:
    """Build the lab anew: empty hosts, open trunks."""
    lab.down()
    lab.up()


def list_trunks(lab: Lab) -> None:
    """Write down by hand what may pass on each port that lets every VLAN pass: a VLAN of nobody.

    What hotsite is not told to let pass it leaves open on such a port.
    """
    for node, port in PORTS:
        if lab.ovs(node, "get", "port", port, "trunks") == "[]":
            lab.ovs(node, "set", "port", port, "trunks=999")


def settle(folder: Path) -> None:
    """Apply the specs, and wait until every guest has booted, all of which may at once."""
    folder.mkdir()
    hotsite = Hotsite(folder)
    for vm, host in HOMES.items():
        hotsite.pin(vm, host)
    hotsite.converge()
    wait_until("a record of every guest",
               lambda: all(last_number(host, vm) for vm, host in HOMES.items()))


def residue(lab: Lab) -> list[str]:
    """Return what no applying of the specs would mend: faults that stand, and guests of nobody."""
    found = [f"{name} is {condition}" for name, condition in lab.nodes().items()
             if condition != "on"]
    if found:
        return found
    for space, begins in CABLES.items():
        said = subprocess.run(["ip", "-n", space, "-j", "link"], capture_output=True, text=True,
                              check=True).stdout
        found += [f"{link['ifname']} of {space} is cut" for link in json.loads(said)
                  if link["ifname"].startswith(begins) and "UP" not in link["flags"]]
    for host in sorted(set(HOMES.values())):
        if (lab.state / f"nodes/{host}/disk/lab-fill").exists():
            found.append(f"the disk of {host} is full")
        there = lab.ask("exec", host, "--", "virsh", "-q", "list", "--all", "--name")
        strange = set(there.output.split()) - HOMES.keys()
        if lab.exec(host, "sh", "-c", HAS_SYSTEM).strip():
            found.append(f"a guest on {host} has an operating system")
        found += [there.complaint] * bool(there.status) + [f"{vm} is on {host}" for vm in strange]
    return found
