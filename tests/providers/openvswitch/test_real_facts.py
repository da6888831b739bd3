"""Facts of a real Open vSwitch whose ports are set up in every way that people use."""

import json
import subprocess
import sys

from controller.model.facts import BridgeFacts
from controller.providers.linux.program import load_program
from controller.providers.openvswitch.facts import parse_bridges
from controller.transport import resident
from tests.providers.openvswitch import test_commit_confirm
from tests.providers.openvswitch.test_commit_confirm import Switch, switch  # noqa: F401

pytestmark = test_commit_confirm.pytestmark
MADE = """
set bridge br0 rstp_enable=true -- set port up0 tag=[] trunks=30,40
-- add-port br0 tr0 -- add-port br0 tr1
-- set port tr1 other_config:rstp-enable=false tag=7 vlan_mode=native-untagged trunks=7,30
-- add-bond br0 bond0 b0 b1 -- set port bond0 trunks=30 -- set interface b0 type=dummy
-- add-port br0 mgmt0 -- set interface mgmt0 type=internal -- set port mgmt0 tag=300
-- add-port br0 vnet9 -- set interface vnet9 external_ids:attached-mac=52:54:00:00:00:09
-- --id=@p get port vnet9 -- --id=@m create mirror name=m0 select-all=true output-port=@p
-- set bridge br0 mirrors=@m
"""


def look(switch: Switch) -> BridgeFacts:  # noqa: F811
    question = json.dumps({"want": ["bridges"], "known": {}}) + "\n"
    done = subprocess.run([sys.executable, *resident.ARGV[1:]], env=switch.environment,
                          input=resident.render_program(load_program("facts.py")) + question,
                          capture_output=True, text=True, check=True)
    return parse_bridges(json.loads(done.stdout)["sections"]["bridges"]["text"])["br0"]


def test_access_trunk_native_bond_mirror_and_tree_are_told_apart(
        switch: Switch) -> None:  # noqa: F811
    assert look(switch).ports["up0"].tag == 7
    switch.run("ovs-vsctl", *MADE.split())
    found = look(switch)
    ports = found.ports
    assert (found.rstp_enabled, found.stp_enabled) == (True, False)
    assert (ports["up0"].tag, ports["up0"].trunks) == (None, (30, 40))
    assert (ports["tr0"].trunks, ports["tr0"].vlan_mode, ports["tr0"].in_tree) == ((), None, True)
    assert (ports["tr1"].tag, ports["tr1"].trunks, ports["tr1"].vlan_mode) == (
        7, (7, 30), "native-untagged")
    assert not ports["tr1"].in_tree
    assert ports["bond0"].members == ("b0", "b1")
    assert (ports["mgmt0"].kind, ports["mgmt0"].tag) == ("internal", 300)
    assert ports["vnet9"].mirror
    assert ports["vnet9"].attached_mac == "52:54:00:00:00:09"
    assert ports["br0"].kind == "internal"
    switch.run("ovs-vsctl", "clear", "mirror", "m0", "output_port", "--", "set", "mirror", "m0",
               "output_vlan=301")
    assert look(switch).mirror_vlans == (301,)
