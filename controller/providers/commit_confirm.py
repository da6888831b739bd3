"""Changes a port of a bridge so that the node undoes it by itself unless it is confirmed.

The confirmation comes over a new connection: the old one may survive on a path that no new
connection would find.
"""

import asyncio
import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from importlib.resources import files
from typing import Any, Final, NamedTuple

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable, Undone
from controller.providers.node import Node, plain_command
from controller.transport.base import Command, Reply
from controller.transport.json_text import parse_json

LIMIT_S: Final = 30.0
AFTERWARDS_S: Final = 15.0
"""How long after its undoing a change's state is still asked for."""
PAUSE_S: Final = 1.0
APPLY_TIMEOUT_S: Final = 45.0
CONFIRM_TIMEOUT_S: Final = 8.0

PARTS: Final = ("state", "undone_at", "sentence", "token")
"""The keys of the guard's answer."""


def remote_command(verb: str, question: Mapping[str, Any], timeout_s: float) -> Command:
    """Return the command that asks the guard on the node one question."""
    program = files("controller").joinpath("remote", "commit_confirm.py").read_text()
    return plain_command("python3", "-", verb, json.dumps(question, sort_keys=True),
                         text=program, timeout_s=timeout_s)


def parse_answer(reply: Reply, failed: str) -> dict[str, str]:
    """Return the guard's answer.

    Errors: OutcomeUnknown when it did not answer.
    """
    try:
        answer = parse_json(reply.stdout)
        return {key: str(answer.get(key, "")) for key in PARTS}
    except (ValueError, AttributeError):
        said = (reply.stderr.strip().splitlines() or ["it said nothing"])[-1]
        # if the guard had begun by then, it undoes whatever was done
        raise OutcomeUnknown(f"{failed} for certain: the node's end did not answer ({said});"
                             f" whatever was changed is undone within {LIMIT_S:.0f} s") from None


class Switch(NamedTuple):
    """What a port is of."""

    driver: str
    name: str
    """In words."""
    not_running: tuple[str, ...] = ()
    """Words of its programs' errors while it does not run."""


async def change_port(node: Node, switch: Switch, bridge: str, port: str,
                      columns: Mapping[str, str], failed: str,
                      before: Mapping[str, str] | None = None) -> bool:
    """Change the port's columns and confirm it; return whether anything had to be changed.

    `before`: the columns as observed, None for a port in no bridge; if they differ by now, nothing
    is changed. An earlier unconfirmed change is confirmed first: its controller may be gone, and a
    new connection is all that it waits for.
    Errors: Undone when no new connection came through; Unavailable while another change of this
    port waits, or when it never began; OutcomeUnknown; Refused.
    """
    token = uuid.uuid4().hex
    question = {"token": token, "bridge": bridge, "port": port, "limit_s": LIMIT_S,
                "driver": switch.driver,
                "columns": dict(columns), "before": None if before is None else dict(before)}
    try:
        answer = await ask(node, question, failed)
        if answer["state"] == "busy":
            with suppress(Undone, Unavailable):  # if it was undone meanwhile, the port is free, too
                await confirm(node, port, answer["token"], failed, answer["undone_at"])
            answer = await ask(node, question, failed)
    except OutcomeUnknown:  # the change itself may have cut the connection
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
    if any(words in answer["sentence"] for words in switch.not_running):
        raise Unavailable(f"{failed}: {switch.name} does not run there ({answer['sentence']})")
    raise Refused(f"{failed}: {answer['sentence']}; it is as it was")


async def ask(node: Node, question: Mapping[str, Any], failed: str) -> dict[str, str]:
    """Ask the guard to change a port, and return its answer."""
    return parse_answer(await node.run(remote_command("apply", question, APPLY_TIMEOUT_S)), failed)


async def confirm(node: Node, port: str, token: str, failed: str, undone_at: str) -> None:
    """Confirm over a new connection, again and again until the node must have undone the change.

    Errors: Undone; Unavailable when the change had never begun.
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
                             f"{when_undone(undone_at)}") from error
        await asyncio.sleep(PAUSE_S)
    answer = parse_answer(reply, failed)
    if answer["state"] == "never":
        raise Unavailable(f"{failed}: the connection to {node.name} broke before it had begun; it"
                          " is tried again")
    if answer["state"] != "confirmed":
        raise Undone(f"{failed}: once it was, {node.name} could not be reached any more, and"
                     f" {node.name} undid it by itself"
                     f"{when_undone(answer['undone_at'] or undone_at)}")


def when_undone(undone_at: str) -> str:
    """Return when a node undid a change, as far as known."""
    return f" at {undone_at}" if undone_at else f" within {LIMIT_S:.0f} s"
