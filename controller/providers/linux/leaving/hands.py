"""Hands for leaving: end guards and grantors, take our marks and files away. Guests run on."""

import asyncio
import json
from typing import Final

from controller.errors import OutcomeUnknown, Refused
from controller.plan.actions.leaving import EndGrantor, EndGuard, ForgetNode
from controller.providers.linux.guard import EVERY_S, run_verb, verb_command
from controller.providers.linux.program import load_program
from controller.providers.node import Node, plain_command
from controller.transport.json_text import parse_json

LEAVE_TRIES: Final = 20
"""A guard hears from each grantor within a few of its asks that it is not counted on."""


async def end_guard(node: Node, action: EndGuard) -> str:
    """End a guard, after each of its grantors has said that it does not count on it."""
    failed = f"the guard of {node.name} was not ended"
    for grantor in action.grantors:
        await run_verb(Node(node.transport, grantor), verb_command("disarm", timeout_s=20.0, told={
            "hosts": [action.host],
            "order": {"term": action.term, "by": "uninstall", "why": action.reason}}), failed)
    leave = verb_command("leave", told={}, timeout_s=20.0)
    for left in reversed(range(LEAVE_TRIES)):
        try:
            await run_verb(node, leave, failed)
            break
        except Refused:
            if not left:
                raise
            await asyncio.sleep(EVERY_S)
    return f"the guard of {node.name} has ended; its guests run on"


async def end_grantor(node: Node, action: EndGrantor) -> str:
    """End a grantor."""
    await run_verb(node, verb_command("stop", told={}, timeout_s=20.0),
                   f"the grantor of {node.name} was not ended")
    return f"the grantor of {node.name} has ended"


async def forget(node: Node, action: ForgetNode) -> str:
    """Remove our files from a node."""
    reply = await node.run(plain_command(
        "python3", "-I", "-S", "-c", load_program("leave.py"),
        text=json.dumps({"folders": action.folders}), timeout_s=60.0))
    said = (reply.stderr.strip().splitlines() or ["it said nothing"])[-1]
    if reply.exit_status == 1:
        raise Refused(f"not all of ours was removed from {node.name}: {said}")
    try:
        removed = parse_json(reply.stdout)["removed"] if reply.exit_status == 0 else None
    except (ValueError, KeyError, TypeError):
        removed = None
    if not isinstance(removed, list):
        raise OutcomeUnknown(f"not all of ours was removed from {node.name}, as far as is known:"
                             f" {said}")
    what = f"{len(removed)} files and folders of ours" if removed else "nothing of ours"
    return f"removed {what} from {node.name}" if removed else f"{what} was left on {node.name}"
