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

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable, Undone
from controller.providers.node import Node, plain_command
from controller.providers.openvswitch.ovs import NOT_RUNNING
from controller.transport.base import Command, Reply
from controller.transport.json_text import parse_json

LIMIT_S: Final = 30.0
AFTERWARDS_S: Final = 15.0
"""So long after it has undone a change a node is asked what came of it."""
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
        answer = parse_json(reply.stdout)
        return {key: str(answer.get(key, "")) for key in PARTS}
    except (ValueError, AttributeError):
        told = (reply.stderr.strip().splitlines() or ["it said nothing"])[-1]
        # a guard that had been left behind by then undoes whatever was done
        raise OutcomeUnknown(f"{failed} for certain: the node's end did not answer ({told});"
                             f" whatever was changed is undone within {LIMIT_S:.0f} s") from None


async def change_port(node: Node, bridge: str, port: str, columns: Mapping[str, str],
                      failed: str, before: Mapping[str, str] | None = None) -> bool:
    """Change the port's columns and confirm it; return whether anything had to be changed.

    `before` is what it was seen to be, None for one that is in no bridge; what is otherwise by now
    is left as it is. An earlier change that still waits is confirmed first: its controller may be
    gone, and that we get in over a new connection is all that it waits for.
    Errors: Undone where nobody got in over a new connection; Unavailable while another change of
    this port comes between, or where it was never begun; OutcomeUnknown; Refused.
    """
    token = uuid.uuid4().hex
    question = {"token": token, "bridge": bridge, "port": port, "limit_s": LIMIT_S,
                "columns": dict(columns), "before": None if before is None else dict(before)}
    try:
        answer = await ask(node, question, failed)
        if answer["state"] == "busy":
            with suppress(Undone, Unavailable):  # undone meanwhile is as good: the port is free
                await confirm(node, port, answer["token"], failed, answer["undone_at"])
            answer = await ask(node, question, failed)
    except OutcomeUnknown:  # the change itself may have cut the line on which we asked for it
        answer = {"state": "armed", "undone_at": ""}
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
    """Come back over a new connection until that works, or until the node has long undone it.

    Errors: Undone; Unavailable where the change had never begun.
    """
    command = remote_command("confirm", {"token": token, "port": port}, CONFIRM_TIMEOUT_S)
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + LIMIT_S + AFTERWARDS_S
    while True:
        try:
            reply = await node.transport.run_on_new_connection(node.name, command)
            break
        except ActionError as error:
            if loop.time() + PAUSE_S > give_up_at:
                raise Undone(f"{failed}: once it was, no new connection to {node.name} came through"
                             f" ({error}), and {node.name} undid it by itself"
                             f"{said_at(undone_at)}") from error
        await asyncio.sleep(PAUSE_S)
    answer = parse_answer(reply, failed)
    if answer["state"] == "never":
        raise Unavailable(f"{failed}: the connection to {node.name} broke before it had begun; it"
                          " is tried again")
    if answer["state"] != "confirmed":
        raise Undone(f"{failed}: once it was, {node.name} could not be reached any more, and"
                     f" {node.name} undid it by itself{said_at(answer['undone_at'] or undone_at)}")


def said_at(undone_at: str) -> str:
    """Return when a node undid something, as far as it was told."""
    return f" at {undone_at}" if undone_at else f" within {LIMIT_S:.0f} s"
