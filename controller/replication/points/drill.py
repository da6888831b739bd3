"""A drill: the mover beside replicas starts a point of each, judges them, and takes all away.

The conversation stays open for as long as the drill lasts: a controller that goes away ends it, as
the end of the mover's standard input. What came of it the mover notes in the states of the
replicas, where the next look finds it.
"""

import asyncio
from typing import Any, Final

from controller.errors import OutcomeUnknown
from controller.model.replica import DrillOutcome
from controller.plan.actions.replica import DrilledMachine, DrillReplica
from controller.replication.mover import EXIT_S, Mover, failure
from controller.transport.json_text import parse_json

CLEAR_S: Final = 240.0
"""For what precedes the start, and for taking all away."""
EACH_S: Final = 60.0
"""For each further VM of a group: the mover starts one after another, and ends them likewise."""
HEALTH: Final = ("agent", "tcp", "ping", "boots_s")


def request_of(action: DrillReplica) -> dict[str, Any]:
    """Return what the mover is asked for."""
    return {"limit_s": action.limit_s, "grow_bytes": action.grow_bytes, "by": action.by,
            "absent": action.absent,
            "gateways": [{"tag": _tag(one.vlan), "address": one.address}
                         for one in action.gateways],
            "machines": [_machine(one, action.estate) for one in action.machines]}


def _machine(one: DrilledMachine, estate: str) -> dict[str, Any]:
    return {"machine": one.machine, "uuid": one.uuid, "replica": one.path,
            "sequence": one.sequence, "memory_bytes": one.memory_bytes,
            "health": {name: getattr(one, name) for name in HEALTH},
            "without": list(one.without), "content": one.content, "estate": estate,
            "address": one.address, "mac": one.mac,
            "vlans": {mac: _tag(vlan) for mac, vlan in one.vlans}}


def _tag(vlan: int | None) -> str:
    """Return a VLAN as the mover knows it."""
    return "" if vlan is None else str(vlan)


async def drill(mover: Mover, action: DrillReplica) -> str:
    """Hold a drill and return a sentence that says what came of it; errors as all hands."""
    failed = f"{_points(action)} {'was' if len(action.machines) == 1 else 'were'} not drilled"
    most_s = action.limit_s + CLEAR_S + EACH_S * (len(action.machines) - 1)
    async with mover.starting("drill", request_of(action), failed) as starting:
        talk = await starting.ready()
        try:
            async with asyncio.timeout(most_s):
                while (line := await talk.receive()) is not None:
                    told = _parsed(line, failed)
                    if "drilled" in told:
                        return described(action, told["drilled"])
        except TimeoutError:
            raise OutcomeUnknown(
                f"{failed}, as far as is known: {mover.name} did not say within"
                f" {most_s:g} s what came of it; it is looked at again") from None
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
    points = _points(action)
    try:
        told = {str(result["machine"]): result for result in results}
        if told.keys() != {*action.names}:
            raise ValueError(f"it tells of {sorted(told)}")
        sentences = [_described(one, action.node, told[one.machine]) for one in action.machines]
    except (KeyError, TypeError, ValueError) as error:
        verb = "was" if len(action.machines) == 1 else "were"
        raise OutcomeUnknown(f"{points} {verb} drilled, and what came of it is not understood"
                             f" ({error!r})") from error
    return "; ".join([*sentences, *([f"without {action.absent}"] if action.absent else [])])


def _points(action: DrillReplica) -> str:
    return " and ".join(f"restore point {one.sequence} of {one.machine}" for one in action.machines)


def _described(one: DrilledMachine, node: str, result: Any) -> str:
    outcome, sentence = DrillOutcome(result["outcome"]), str(result["sentence"])
    took = [f"it ran after {float(result['boot_s']):.1f} s"] if result.get(
        "boot_s") is not None else []
    took += [f"was proven after {float(result['health_s']):.1f} s"] if result.get(
        "health_s") is not None else []
    left = [f"not in it: {', '.join(result['left_out'])}"] if result.get("left_out") else []
    left += [f"what its screen showed is in {result['screen']}"] if result.get("screen") else []
    left += [f"of the drill there stays: {result['stays']}"] if result.get("stays") else []
    words = f" ({', '.join(took)})" if took else ""
    return "; ".join([f"restore point {one.sequence} of {one.machine} on {node} is"
                      f" {outcome.value}: {sentence}{words}", *left])
