"""The network fence on a real Open vSwitch: frames of old copies are dropped, all others pass."""

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from controller.errors import Refused, Unavailable
from controller.model.failover.dropped import DroppedAddress
from controller.plan.actions.action import Action
from controller.plan.actions.fencing import AdmitAddresses, DropAddresses
from controller.providers.linux.program import load_program
from controller.providers.openvswitch.facts import parse_drops
from controller.providers.openvswitch.hands import OpenVswitchHands
from controller.transport import resident
from tests.providers.fakes import Scripted, failed
from tests.providers.openvswitch import test_commit_confirm
from tests.providers.openvswitch.test_commit_confirm import Line, Switch, switch  # noqa: F401

pytestmark = test_commit_confirm.pytestmark
SQL, WEB = "52:54:00:02:00:15", "52:54:00:02:00:16"
DROP = DropAddresses(target="Switch/milan-sw", node="milan-sw", reason="paris is lost",
                     bridge="br0", ports=("tr0", "tr1"), macs=(SQL.upper(),), epoch=7)
ADMIT = AdmitAddresses(target="Switch/milan-sw", node="milan-sw", reason="paris is off",
                       bridge="br0", macs=(SQL.upper(),))


@pytest.fixture
def trunk(switch: Switch) -> Switch:  # noqa: F811
    """A switch with two trunk members, a host, and a flow of somebody else."""
    switch.run("ovs-vsctl", "add-port", "br0", "tr0", "--", "add-port", "br0", "tr1", "--",
               "add-port", "br0", "h1")
    switch.run("ovs-ofctl", "add-flow", "br0", f"cookie=0x5,priority=9,dl_src={WEB},actions=normal")
    return switch


def apply(switch: Switch, action: Action) -> str:  # noqa: F811
    """Do an action on the switch."""
    return asyncio.run(OpenVswitchHands(Line(switch.environment)).apply(action))


def passes(switch: Switch, port: str, mac: str) -> bool:  # noqa: F811
    """Return whether a frame that comes in by a port is sent on."""
    told = switch.run("ovs-appctl", "ofproto/trace", "br0",
                      f"in_port={port},dl_src={mac},dl_dst=52:54:00:99:99:99")
    return "Datapath actions: drop" not in told


def look(switch: Switch) -> tuple[DroppedAddress, ...]:  # noqa: F811
    """Return what the facts script sees."""
    question = json.dumps({"want": ["bridges", "dropped"], "known": {}}) + "\n"
    done = subprocess.run([sys.executable, *resident.ARGV[1:]], env=switch.environment,
                          input=resident.render_program(load_program("facts.py")) + question,
                          capture_output=True, text=True, check=True)
    return parse_drops(json.loads(done.stdout)["sections"]["dropped"]["text"])


def test_frames_of_an_old_copy_are_dropped_on_the_trunk_alone(trunk: Switch) -> None:
    assert look(trunk) == ()
    assert passes(trunk, "tr0", SQL)
    assert apply(trunk, DROP) == (f"milan-sw drops the frames of {SQL.upper()} that come in by tr0,"
                                  " tr1")
    assert [passes(trunk, port, SQL) for port in ("tr0", "tr1", "h1")] == [False, False, True]
    assert [passes(trunk, port, WEB) for port in ("tr0", "tr1", "h1")] == [True, True, True]
    assert look(trunk) == tuple(DroppedAddress("br0", port, SQL, 7) for port in ("tr0", "tr1"))


def test_a_second_order_is_no_second_flow_and_a_later_failover_takes_over(trunk: Switch) -> None:
    apply(trunk, DROP)
    apply(trunk, DROP)
    assert len(look(trunk)) == 2
    apply(trunk, DropAddresses(target=DROP.target, node=DROP.node, reason="r", bridge="br0",
                               ports=("tr0",), macs=(SQL, WEB), epoch=8))
    assert look(trunk) == (DroppedAddress("br0", "tr0", SQL, 8), DroppedAddress("br0", "tr0", WEB,
                           8), DroppedAddress("br0", "tr1", SQL, 7))


def test_what_was_dropped_passes_again_and_flows_of_others_stay(trunk: Switch) -> None:
    apply(trunk, DROP)
    apply(trunk, DropAddresses(target=DROP.target, node=DROP.node, reason="r", bridge="br0",
                               ports=("tr0",), macs=(WEB,), epoch=7))
    assert apply(trunk, ADMIT) == f"milan-sw lets the frames of {SQL.upper()} pass again"
    assert look(trunk) == (DroppedAddress("br0", "tr0", WEB, 7),)
    assert passes(trunk, "tr0", SQL)
    assert "cookie=0x5" in trunk.run("ovs-ofctl", "dump-flows", "br0")
    assert apply(trunk, ADMIT).endswith("pass again")


def test_learned_addresses_are_forgotten(trunk: Switch) -> None:
    trunk.run("ovs-appctl", "ofproto/trace", "br0", f"in_port=tr0,dl_src={SQL}", "-generate")
    assert SQL in trunk.run("ovs-appctl", "fdb/show", "br0")
    apply(trunk, DROP)
    assert SQL not in trunk.run("ovs-appctl", "fdb/show", "br0")


@pytest.mark.parametrize(("changes", "words"), [
    ({"macs": ("52:54:00:02:00",)}, "is no MAC address"),
    ({"ports": ("tr0,actions=normal",)}, "cannot be named in a flow"),
    ({"bridge": "--all"}, "cannot be the name of a bridge"),
    ({"ports": ("tr9",)}, "does not drop the frames"),
    ({"bridge": "br9"}, "br9 is not a bridge"),
])
def test_what_cannot_be_dropped_is_refused_and_changes_nothing(
        changes: dict[str, Any], words: str, trunk: Switch) -> None:
    told: dict[str, Any] = {"target": "x", "node": "milan-sw", "reason": "r", "bridge": "br0",
                               "ports": ("tr0",), "macs": (SQL,), "epoch": 7, **changes}
    with pytest.raises(Refused, match=words):
        apply(trunk, DropAddresses(**told))
    assert look(trunk) == ()


def test_a_switch_that_does_not_run_is_asked_again() -> None:
    transport = Scripted(("add-flows br0", failed(
        "ovs-ofctl: br0: failed to connect to socket (Connection refused)\n")))
    with pytest.raises(Unavailable, match="Open vSwitch does not run there"):
        asyncio.run(OpenVswitchHands(transport).apply(DROP))
