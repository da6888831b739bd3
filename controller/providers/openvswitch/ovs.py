"""The one door to Open vSwitch: ovs-vsctl on the node, and the meaning of its failures."""

import re
from typing import Final

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.providers.node import Node, plain_command
from controller.transport.base import Command, Reply

WAIT_S: Final = 10
NOT_RUNNING: Final = ("database connection failed", "Connection refused",
                      "No such file or directory")


def ovs_command(*words: str) -> Command:
    """Return the command that runs ovs-vsctl; it waits until the switch has taken the change up."""
    return plain_command("ovs-vsctl", f"--timeout={WAIT_S}", *words, timeout_s=WAIT_S + 20.0)


def parse_complaint(stderr: str) -> str:
    """Return what is meant by ovs-vsctl's error output, as one line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    told = [re.sub(r"^(ovs-vsctl: |\S+Z\|\d+\|\w+\|\w+\|)", "", line) for line in lines]
    return "; ".join(told)[:300] or "it gave no reason"


def failure(reply: Reply, sentence: str) -> ActionError:
    """Return the error for a failed reply; `sentence` says what did not happen, and where."""
    complaint = parse_complaint(reply.stderr)
    if any(words in reply.stderr for words in NOT_RUNNING):
        return Unavailable(f"{sentence}: Open vSwitch does not run there ({complaint});"
                           " it is tried again")
    if "Alarm clock" in reply.stderr or reply.exit_status < 0:
        # the database has the change, the switch has not said that it has taken it up
        return OutcomeUnknown(f"{sentence} for certain: the switch did not confirm within"
                              f" {WAIT_S} s; it is looked at again")
    return Refused(f"{sentence}: {complaint}")


async def ovs(node: Node, *words: str, failed: str) -> str:
    """Return what ovs-vsctl printed; `failed` begins the sentence when it fails."""
    reply = await node.run(ovs_command(*words))
    if reply.exit_status != 0:
        raise failure(reply, failed)
    return reply.stdout


def say_vlans(vlans: tuple[int, ...]) -> str:
    """Return `vlans` for people."""
    tagged = [vlan for vlan in sorted(vlans) if vlan]
    if not tagged:
        return "no VLAN"
    words = ("VLAN " if len(tagged) == 1 else "VLANs ") + ", ".join(map(str, tagged))
    return f"{words} and untagged frames" if 0 in vlans else words
