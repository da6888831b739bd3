"""Change an uplink or a trunk so that the node undoes it by itself unless we come back and say so.

The proof that we still can is a new connection: the old one may live on through a path that no
new one would find.
"""

import asyncio
import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from importlib.resources import files
from typing import Any, Final

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.providers.node import Node, plain_command
from controller.providers.openvswitch.ovs import NOT_RUNNING
from controller.transport.base import Command, Reply

LIMIT_S: Final = 30.0
RESERVE_S: Final = 5.0
PAUSE_S: Final = 1.0
APPLY_TIMEOUT_S: Final = 45.0
CONFIRM_TIMEOUT_S: Final = 8.0

PARTS: Final = ("state", "undone_at", "sentence", "token")
"""What the guard answers with."""


def remote_command(verb: str, question: Mapping[str, Any], timeout_s: float) -> Command:
    """Return the command that asks the node's end one question."""
    program = files("controller").joinpath("remote", "commit_confirm.py").read_text()
    return plain_command("python3", "-", verb, json.dumps(question, sort_keys=True),
                         text=program, timeout_s=timeout_s)


def parse_answer(reply: Reply, failed: str) -> dict[str, str]:
    """Return the answer of the node's end.

    Errors: Refused when it never got as far as answering.
    """
    try:
        answer = json.loads(reply.stdout)
        return {key: str(answer.get(key, "")) for key in PARTS}
    except (ValueError, AttributeError):
        told = (reply.stderr.strip().splitlines() or ["it said nothing"])[-1]
        # a guard that had been left behind by then undoes whatever was done
        raise OutcomeUnknown(f"{failed} for certain: the node's end did not answer ({told});"
                             f" whatever was changed is undone within {LIMIT_S:.0f} s") from None


async def change_port(node: Node, bridge: str, port: str, columns: Mapping[str, str],
                      failed: str) -> bool:
    """Change the port's columns and confirm it; return whether anything had to be changed.

    An earlier change that still waits is confirmed first: its controller may be gone, and that we
    get in over a new connection is all that it waits for.
    Errors: OutcomeUnknown with the time at which the node undoes it; Unavailable while another
    change of this port comes between; Refused.
    """
    token = uuid.uuid4().hex
    question = {"token": token, "bridge": bridge, "port": port, "limit_s": LIMIT_S,
                "columns": dict(columns)}
    answer = await ask(node, question, failed)
    if answer["state"] == "busy":
        with suppress(OutcomeUnknown):  # undone meanwhile is as good: the port is free
            await confirm(node, port, answer["token"], failed, answer["undone_at"])
        answer = await ask(node, question, failed)
    match answer["state"]:
        case "same":
            return False
        case "armed":
            await confirm(node, port, token, failed, answer["undone_at"])
            return True
        case "busy":
            raise Unavailable(f"{failed}: an earlier change of it is not confirmed, and is undone"
                              f" at {answer['undone_at']}; it is tried again then")
        case "unsure":
            raise OutcomeUnknown(f"{failed} for certain: {answer['sentence']};"
                                 f" {node.name} undoes it by itself at {answer['undone_at']}")
    if any(words in answer["sentence"] for words in NOT_RUNNING):
        raise Unavailable(f"{failed}: Open vSwitch does not run there ({answer['sentence']})")
    raise Refused(f"{failed}: {answer['sentence']}; it is as it was")


async def ask(node: Node, question: Mapping[str, Any], failed: str) -> dict[str, str]:
    """Ask the node's end to change a port, and return its answer."""
    return parse_answer(await node.run(remote_command("apply", question, APPLY_TIMEOUT_S)), failed)


async def confirm(node: Node, port: str, token: str, failed: str, undone_at: str) -> None:
    """Come back over a new connection until it works, or until the node is about to undo it."""
    command = remote_command("confirm", {"token": token, "port": port}, CONFIRM_TIMEOUT_S)
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + LIMIT_S - RESERVE_S
    while True:
        try:
            reply = await node.transport.run_on_new_connection(node.name, command)
            break
        except ActionError as error:
            if loop.time() + PAUSE_S > give_up_at:
                raise OutcomeUnknown(
                    f"{failed} for good: no new connection to {node.name} came through ({error});"
                    f" {node.name} undoes it by itself at {undone_at}") from error
        await asyncio.sleep(PAUSE_S)
    if parse_answer(reply, failed)["state"] != "confirmed":
        raise OutcomeUnknown(f"{failed} for good: the confirmation came too late,"
                             f" {node.name} undid it at {undone_at}")
