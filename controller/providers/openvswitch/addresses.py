"""Hands for the network fence: drop the frames of old copies on the trunk, and let them pass again.

A flow per port and address, above all others, with a cookie that says that it is ours and of which
failover. It needs no controller and changes nothing else: what it does not match goes on as before.
The flows are in the memory of ovs-vswitchd: after its restart they are gone, which the next look at
the switch shows. What the switch has learned about addresses is forgotten at once, so that frames
for a promoted VM do not go where its old copy was.
"""

import re
from typing import Final

from controller.errors import Refused
from controller.plan.actions.fencing import AdmitAddresses, DropAddresses
from controller.providers.node import Node, plain_command, safe_word
from controller.providers.openvswitch.ovs import WAIT_S, failure

PRIORITY: Final = 60000
COOKIE: Final = 0x686F7473 << 32
OURS: Final = f"{COOKIE:#x}/0xffffffff00000000"
MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


async def drop_addresses(node: Node, action: DropAddresses) -> str:
    """Have a switch drop what bears these addresses and comes in by these ports."""
    what = describe(action.macs)
    failed = f"{node.name} does not drop the frames of {what}"
    flows = [f"cookie={COOKIE + action.epoch:#x},priority={PRIORITY},in_port={port},"
             f"dl_src={mac},actions=drop"
             for port in map(word_of_port, action.ports) for mac in map(checked, action.macs)]
    await change_flows(node, action.bridge, "add-flows", flows, failed)
    await forget_learned(node, action.bridge)
    return f"{node.name} drops the frames of {what} that come in by {', '.join(action.ports)}"


async def admit_addresses(node: Node, action: AdmitAddresses) -> str:
    """Have a switch let pass again what it dropped on our order."""
    what = describe(action.macs)
    failed = f"{node.name} still drops the frames of {what}"
    flows = [f"cookie={OURS},dl_src={checked(mac)}" for mac in action.macs]
    await change_flows(node, action.bridge, "del-flows", flows, failed)
    await forget_learned(node, action.bridge)
    return f"{node.name} lets the frames of {what} pass again"


async def change_flows(node: Node, bridge: str, verb: str, flows: list[str], failed: str) -> None:
    """Change all flows at once, or none.

    Errors: Refused, Unavailable, OutcomeUnknown.
    """
    words = ("ovs-ofctl", f"--timeout={WAIT_S}", "--bundle", "--names", verb,
             safe_word(bridge, "bridge"), "-")
    reply = await node.run(plain_command(*words, text="".join(f"{flow}\n" for flow in flows),
                                         timeout_s=WAIT_S + 20.0))
    if reply.exit_status != 0:
        raise failure(reply, failed)


async def forget_learned(node: Node, bridge: str) -> None:
    """Have a bridge forget where it has seen which address; a bridge that cannot learns anew."""
    await node.run(plain_command("ovs-appctl", f"--timeout={WAIT_S}", "fdb/flush", bridge,
                                 timeout_s=WAIT_S + 20.0))


def checked(mac: str) -> str:
    """Return an address in lower case, if it is one.

    Errors: Refused.
    """
    if MAC.fullmatch(mac.lower()) is None:
        raise Refused(f"{mac!r} is no MAC address")
    return mac.lower()


def word_of_port(port: str) -> str:
    """Return a port as a flow names it.

    Errors: Refused for a name that would be read as something else.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", safe_word(port, "port")):
        raise Refused(f"{port!r} cannot be named in a flow")
    return port


def describe(macs: tuple[str, ...]) -> str:
    """Return a few addresses, and how many more."""
    more = f" and {len(macs) - 3} more" if len(macs) > 3 else ""
    return ", ".join(macs[:3]) + more
