"""The only access to Open vSwitch: ovs-vsctl on the node, and the meaning of its errors."""

import re
from typing import Final

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.providers.node import Node, plain_command
from controller.transport.base import Command, Reply

WAIT_S: Final = 10
NOT_RUNNING: Final = ("database connection failed", "Connection refused",
                      "No such file or directory")


def ovs_command(*words: str) -> Command:
    """Return the command that runs ovs-vsctl, which waits until the switch applied the change."""
    return plain_command("ovs-vsctl", f"--timeout={WAIT_S}", *words, timeout_s=WAIT_S + 20.0)


def parse_complaint(stderr: str) -> str:
    """Return an Open vSwitch program's error output as one short line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    texts = [re.sub(r"^(ovs-[a-z]+: |\S+Z\|\d+\|\w+\|\w+\|)", "", line) for line in lines]
    return "; ".join(texts)[:300] or "it gave no reason"


def failure(reply: Reply, sentence: str) -> ActionError:
    """Return the error for a failed reply; `sentence` says what did not happen, and where."""
    complaint = parse_complaint(reply.stderr)
    if any(words in reply.stderr for words in NOT_RUNNING):
        return Unavailable(f"{sentence}: Open vSwitch does not run there ({complaint});"
                           " it is tried again")
    if "Alarm clock" in reply.stderr or reply.exit_status < 0:
        # the change is in the database; the switch has not confirmed that it applied it
        return OutcomeUnknown(f"{sentence} for certain: the switch did not confirm within"
                              f" {WAIT_S} s; it is looked at again")
    return Refused(f"{sentence}: {complaint}")


async def ovs(node: Node, *words: str, failed: str) -> str:
    """Run ovs-vsctl and return what it printed; `failed` begins an error's sentence."""
    reply = await node.run(ovs_command(*words))
    if reply.exit_status != 0:
        raise failure(reply, failed)
    return reply.stdout


def describe_vlans(vlans: tuple[int, ...]) -> str:
    """Return a description of VLANs."""
    tagged = [vlan for vlan in sorted(vlans) if vlan]
    if not tagged:
        return "no VLAN"
    words = ("VLAN " if len(tagged) == 1 else "VLANs ") + ", ".join(map(str, tagged))
    return f"{words} and untagged frames" if 0 in vlans else words
