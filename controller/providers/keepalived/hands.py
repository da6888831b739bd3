"""The hand for each action on gateways; on the switch itself `remote/network/keepalived.py`."""

import json
from dataclasses import asdict
from typing import ClassVar, Final

from controller.errors import OutcomeUnknown, Refused
from controller.model.linux.keepalived import VrrpInstance
from controller.plan.actions.action import Action
from controller.plan.actions.gateway import (
    BRIDGE,
    FAR,
    NEAR,
    PORT,
    AddGatewayPort,
    ConfigureGateways,
    DropGateways,
)
from controller.providers.keepalived.config import MARK, render_addresses, render_config
from controller.providers.linux.program import load_program
from controller.providers.node import Node, plain_command, safe_word, script_command
from controller.providers.openvswitch.ovs import ovs
from controller.transport.base import Command, Transport
from controller.transport.json_text import parse_json

RAISE: Final = 'ip link set dev "$1" up && ip address replace "$2" dev "$1"'
WORDS: Final = {"started": "started", "reloaded": "read it anew", "stopped": "stopped"}


def change_command(name: str, instances: tuple[VrrpInstance, ...], fresh: tuple[str, ...] = (),
                   switches: tuple[str, ...] = ()) -> Command:
    """Return the command that has keepalived of a switch hold these gateways and no others."""
    told = {"config": render_config(name, instances) if instances else None, "mark": MARK,
            "addresses": render_addresses(instances), "switches": switches,
            "fresh": [asdict(one) for one in instances if one.network in fresh]}
    return plain_command("python3", "-I", "-S", "-c", load_program("network/keepalived.py"),
                         text=json.dumps(told), timeout_s=60.0)


class KeepalivedHands:
    """Applies the actions on gateways."""

    HANDLES: ClassVar[frozenset[type[Action]]] = frozenset(
        {AddGatewayPort, ConfigureGateways, DropGateways})

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def apply(self, action: Action) -> str:
        """Make one change and return a sentence that says what was done.

        Errors: Refused, Unavailable or OutcomeUnknown; see controller.errors.
        """
        node = Node(self._transport, action.node)
        match action:
            case AddGatewayPort():
                return await add_port(node, action)
            case ConfigureGateways():
                did = await change(node, change_command(node.name, action.instances, action.fresh,
                                                        action.switches))
                return f"keepalived of {node.name} {did}: it has {said(action.instances)}"
            case DropGateways():
                return await drop(node, action)
        raise AssertionError(f"{action.verb} is not for keepalived: HANDLES says so")


async def add_port(node: Node, action: AddGatewayPort) -> str:
    """Give a switch a port in a VLAN, with its own address; what is there already is set right."""
    bridge, port = safe_word(action.bridge, "bridge"), safe_word(action.port, "port")
    failed = f"{node.name} was not given {action.own} in VLAN {action.vlan}"
    datapath = (await ovs(node, "get", "Bridge", bridge, "datapath_type", failed=failed)).strip()
    await ovs(node, *port_words(bridge, port, action.vlan, datapath), failed=failed)
    reply = await node.run(script_command(RAISE, port, action.own))
    if reply.exit_status != 0:
        raise Refused(f"{failed}: {reply.stderr.strip()[:300]}")
    return f"{node.name} has {action.own} on {port}, in VLAN {action.vlan}"


def port_words(bridge: str, port: str, vlan: int, datapath: str) -> tuple[str, ...]:
    """Return ovs-vsctl's arguments for our bridge, the patch to it, and a port in a VLAN.

    The near end of the patch takes part in the spanning tree as a port that leads to no bridge.
    """
    return ("--may-exist", "add-br", BRIDGE, "--", "set", "Bridge", BRIDGE,
            f"datapath_type={datapath}",
            "--", "--may-exist", "add-port", BRIDGE, FAR, "--", "set", "Interface", FAR,
            "type=patch", f"options:peer={NEAR}",
            "--", "--may-exist", "add-port", bridge, NEAR, "--", "set", "Interface", NEAR,
            "type=patch", f"options:peer={FAR}", "--", "set", "Port", NEAR, "vlan_mode=trunk",
            "other_config:rstp-port-admin-edge=true", "--", "add", "Port", NEAR, "trunks",
            str(vlan),
            "--", "--may-exist", "add-port", BRIDGE, port, "--", "set", "Port", port,
            f"tag={vlan}", "vlan_mode=access", "trunks=[]", "--", "set", "Interface", port,
            "type=internal")


async def drop(node: Node, action: DropGateways) -> str:
    """Have keepalived hold gateways no more, then take their ports out of the bridge."""
    did = await change(node, change_command(node.name, action.instances))
    failed = f"the ports of {said(action.dropped)} were not taken out of {node.name}"
    kept = {one.port for one in action.instances}
    gone = sorted({one.port for one in action.dropped} - kept)
    for port in gone if kept else ():
        await ovs(node, "--if-exists", "del-port", BRIDGE, safe_word(port, "port"), "--", "remove",
                  "Port", NEAR, "trunks", port.removeprefix(PORT), failed=failed)
    if not kept:
        await ovs(node, "--if-exists", "del-port", safe_word(action.bridge, "bridge"), NEAR, "--",
                  "--if-exists", "del-br", BRIDGE, failed=failed)
    return f"keepalived of {node.name} {did}: it no longer has {said(action.dropped)}"


async def change(node: Node, command: Command) -> str:
    """Have keepalived of a node go by something else, and return what it did.

    Errors: Refused with what keepalived said; OutcomeUnknown.
    """
    reply = await node.run(command)
    failed = f"keepalived of {node.name} does not go by what is declared"
    complaint = (reply.stderr.strip().splitlines() or ["it said nothing"])[-1]
    if reply.exit_status == 1:
        raise Refused(f"{failed}: {complaint}")
    try:
        did = parse_json(reply.stdout)["did"] if reply.exit_status == 0 else None
    except (ValueError, KeyError, TypeError):
        did = None
    if did not in WORDS:
        raise OutcomeUnknown(f"{failed}, as far as is known: {complaint}; it is looked at again")
    return WORDS[did]


def said(instances: tuple[VrrpInstance, ...]) -> str:
    """Return the addresses of gateways, and of which networks."""
    return ", ".join(f"{one.address.partition('/')[0]} of {one.network}" for one in instances)
