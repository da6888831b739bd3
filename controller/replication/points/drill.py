"""A drill: the mover beside a replica starts one of its points, judges it, and takes it away.

The conversation stays open for as long as the drill lasts: a controller that goes away ends it, as
the end of the mover's standard input. What came of it the mover notes in the replica's state, where
the next look finds it.
"""

import asyncio
from typing import Any, Final

from controller.errors import OutcomeUnknown
from controller.model.replica import DrillOutcome
from controller.plan.actions.replica import DrillReplica
from controller.replication.mover import EXIT_S, Mover, failure
from controller.transport.json_text import parse_json

CLEAR_S: Final = 240.0
"""For what precedes the start, and for taking all away."""
HEALTH: Final = ("agent", "tcp", "ping", "boots_s")


def request_of(action: DrillReplica) -> dict[str, Any]:
    """Return what the mover is asked for."""
    return {"limit_s": action.limit_s, "grow_bytes": action.grow_bytes, "by": action.by,
            "machines": [{
                "machine": action.machine, "uuid": action.uuid, "replica": action.path,
                "sequence": action.sequence, "memory_bytes": action.memory_bytes,
                "health": {name: getattr(action, name) for name in HEALTH},
                "without": list(action.without), "content": action.content,
                "estate": action.estate}]}


async def drill(mover: Mover, action: DrillReplica) -> str:
    """Hold a drill and return a sentence that says what came of it; errors as all hands."""
    failed = f"restore point {action.sequence} of {action.machine} was not drilled"
    async with mover.starting("drill", request_of(action), failed) as starting:
        talk = await starting.ready()
        try:
            async with asyncio.timeout(action.limit_s + CLEAR_S):
                while (line := await talk.receive()) is not None:
                    told = _parsed(line, failed)
                    if "drilled" in told:
                        return described(action, told["drilled"])
        except TimeoutError:
            raise OutcomeUnknown(
                f"{failed}, as far as is known: {mover.name} did not say within"
                f" {action.limit_s + CLEAR_S:g} s what came of it; it is looked at again") from None
        raise failure(await talk.outcome(EXIT_S), failed)


def _parsed(line: str, failed: str) -> dict[str, Any]:
    try:
        told = parse_json(line)
    except ValueError as error:
        raise OutcomeUnknown(f"{failed}, as far as is known: {error}") from error
    return told if isinstance(told, dict) else {}


def described(action: DrillReplica, results: Any) -> str:
    """Return a sentence about what came of a drill.

    Errors: OutcomeUnknown for what is not understood.
    """
    try:
        [result] = results
        outcome, sentence = DrillOutcome(result["outcome"]), str(result["sentence"])
        took = [f"it ran after {float(result['boot_s']):.1f} s"] if result.get(
            "boot_s") is not None else []
        took += [f"was proven after {float(result['health_s']):.1f} s"] if result.get(
            "health_s") is not None else []
        left = [f"not in it: {', '.join(result['left_out'])}"] if result.get("left_out") else []
        left += [f"of the drill there stays: {result['stays']}"] if result.get("stays") else []
    except (KeyError, TypeError, ValueError) as error:
        raise OutcomeUnknown(f"restore point {action.sequence} of {action.machine} was drilled, and"
                             f" what came of it is not understood ({error!r})") from error
    words = f" ({', '.join(took)})" if took else ""
    return "; ".join([f"restore point {action.sequence} of {action.machine} on {action.node} is"
                      f" {outcome.value}: {sentence}{words}", *left])
