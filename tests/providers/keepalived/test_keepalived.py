"""keepalived: its configuration is known for ours by itself, and a switch is changed as a whole."""

import asyncio
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.errors import OutcomeUnknown, Refused
from controller.model.linux.keepalived import ConfigState, VrrpInstance
from controller.plan.actions.gateway import AddGatewayPort, ConfigureGateways, DropGateways
from controller.providers.keepalived.config import parse_config, render_addresses, render_config
from controller.providers.keepalived.facts import parse_keepalived
from controller.providers.keepalived.hands import KeepalivedHands
from controller.transport.base import Reply
from tests.providers.fakes import Scripted, failed, said

OFFICE = VrrpInstance("office", 20, "gw200", "10.2.0.254/32", "10.2.0.252/24", 150)
DMZ = replace(OFFICE, network="dmz", vrid=30, port="gw30", address="10.3.0.254/32",
              own="10.3.0.252/24")
TEXT = render_config("paris-sw", (OFFICE, DMZ))
MANY = tuple(replace(OFFICE, network=f"network-{vrid}", vrid=vrid, port=f"gw{vrid}")
             for vrid in range(1, 41))
SAID: dict[str, Any] = {"version": "2.2.7", "running": True, "config": TEXT, "forwarding": True,
                        "states": {"office": "master"}, "states_unknown": "",
                        "heard": [["gw200", 20, "10.2.0.253"]]}


@pytest.mark.parametrize(("text", "state", "count"), [
    (None, ConfigState.MISSING, 0), ("\n", ConfigState.MISSING, 0), (TEXT, ConfigState.OURS, 2),
    (TEXT.replace("priority 150", "priority 50"), ConfigState.EDITED, 2),
    (TEXT + "# a word\n", ConfigState.EDITED, 2), ("# hotsite {\n", ConfigState.EDITED, 0),
    ("# hotsite {}\nglobal_defs {\n}\n", ConfigState.EDITED, 0),
    ("global_defs {\n}\n", ConfigState.FOREIGN, 0)])
def test_a_file_says_whose_work_it_is(text: str | None, state: ConfigState, count: int) -> None:
    found, instances = parse_config(text)
    assert (found, len(instances)) == (state, count)


def test_the_order_of_gateways_changes_nothing() -> None:
    assert render_config("paris-sw", (DMZ, OFFICE)) == TEXT
    assert render_addresses((DMZ, OFFICE)) == render_addresses((OFFICE, DMZ))


def test_many_gateways_make_no_line_that_keepalived_would_read_in_pieces() -> None:
    text = render_config("paris-sw", MANY)
    assert max(map(len, text.splitlines())) < 1000
    assert parse_config(text) == (ConfigState.OURS, tuple(sorted(MANY)))
    assert parse_config(text.replace("gw7\n", "gw8\n"))[0] is ConfigState.EDITED


def test_a_file_with_all_of_it_in_one_long_line_is_still_ours_and_written_anew() -> None:
    head, body = render_config("paris-sw", MANY).split("# Written", 1)
    text = f"# hotsite {head.replace('# hotsite ', '').replace(chr(10), '')}\n# Written{body}"
    assert parse_config(text) == (ConfigState.OUTDATED, tuple(sorted(MANY)))


@pytest.mark.skipif(shutil.which("keepalived") is None, reason="keepalived is not installed")
@pytest.mark.parametrize("instances", [(OFFICE, DMZ), MANY])
def test_keepalived_itself_finds_nothing_wrong_but_that_the_ports_are_missing(
        tmp_path: Path, instances: tuple[VrrpInstance, ...]) -> None:
    path = tmp_path / "keepalived.conf"
    path.write_text(render_config("paris-sw", instances))
    done = subprocess.run(["keepalived", "--config-test", f"--use-file={path}"], check=False,
                          capture_output=True, text=True)
    told = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert [line for line in told if "doesn't exist" not in line
            and "Non-existent interface" not in line] == []


def test_what_the_script_says_is_read() -> None:
    facts = parse_keepalived(json.dumps(SAID))
    assert facts.config is ConfigState.OURS
    assert facts.instances == (DMZ, OFFICE)
    assert facts.heard[0].source == "10.2.0.253"


@pytest.mark.parametrize("broken", [{"heard": [["gw200", "x", 1]]}, {"version": None},
                                    {"states": []}])
def test_what_makes_no_sense_is_unknown(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is not understood"):
        parse_keepalived(json.dumps(SAID | broken))


CONFIGURE = ConfigureGateways(target="Switch/paris-sw", node="paris-sw", reason="", fresh=("dmz",),
                              instances=(DMZ, OFFICE), networks=("dmz",), switches=("10.3.0.253",))


def applied(action: Any, *script: tuple[str, Reply]) -> tuple[str, Scripted]:
    transport = Scripted(*script)
    return asyncio.run(KeepalivedHands(transport).apply(action)), transport


def test_a_switch_is_told_all_its_gateways_and_which_of_them_are_new() -> None:
    sentence, transport = applied(CONFIGURE, ("paris-sw: python3", said('{"did": "reloaded"}')))
    told = json.loads(transport.commands[0][1].input)
    assert told["config"] == TEXT
    assert [one["network"] for one in told["fresh"]] == ["dmz"]
    assert told["switches"] == ["10.3.0.253"]
    assert sentence == ("keepalived of paris-sw read it anew: it has 10.3.0.254 of dmz, 10.2.0.254"
                        " of office")


@pytest.mark.parametrize(("reply", "error", "words"), [
    (failed("10.3.0.1 speaks VRRP"), Refused, "10.3.0.1 speaks VRRP"),
    (failed("killed", -9), OutcomeUnknown, "it is looked at again"),
    (said("{}"), OutcomeUnknown, "it is looked at again")])
def test_what_was_not_done_is_told(reply: Reply, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        applied(CONFIGURE, ("paris-sw: python3", reply))


def test_a_port_is_made_on_a_bridge_of_ours_with_the_datapath_of_the_other() -> None:
    port = AddGatewayPort(target="Switch/paris-sw", node="paris-sw", reason="", network="office",
                          bridge="br0", port="gw200", vlan=200, own="10.2.0.252/24")
    _, transport = applied(port, ("get Bridge br0 datapath_type", said("netdev\n")),
                           ("add-br hotsite-gw datapath_type=netdev add-port br0 hotsite-gw-in"
                            " add-port hotsite-gw gw200 tag=200", said()),
                           ("sh gw200 10.2.0.252/24", said()))
    assert transport.script == []


@pytest.mark.parametrize(("kept", "words"), [
    ((OFFICE,), "del-port hotsite-gw gw30 remove Port hotsite-gw-in trunks 30"),
    ((), "del-port br0 hotsite-gw-in del-br hotsite-gw")])
def test_the_ports_of_what_goes_go_after_it(kept: tuple[VrrpInstance, ...], words: str) -> None:
    drop = DropGateways(target="Switch/paris-sw", node="paris-sw", reason="", bridge="br0",
                        instances=kept, dropped=(DMZ,))
    did = "reloaded" if kept else "stopped"
    _, transport = applied(drop, ("python3", said(json.dumps({"did": did}))), (words, said()))
    assert (json.loads(transport.commands[0][1].input)["config"] is None) == (not kept)
