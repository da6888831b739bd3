"""The effect of a drill: a point is started beside its replica, judged, and taken away."""

from typing import Final

from controller.errors import Refused, Unavailable
from controller.model.replica import DrillFacts, DrillOutcome
from controller.plan.actions.replica import DrillReplica
from controller.providers.simulated.hands.effect import Effect, Wait
from controller.providers.simulated.hands.replica import replica_at
from controller.providers.simulated.world import World

START_S: Final = 0.5
BOOT_S: Final = 30.0
PIN: Final = "drill"


def drill(world: World, action: DrillReplica) -> Effect:
    """Start a point, wait until it serves or its time is over, and note what came of it."""
    node = world.node(action.node)
    replica = replica_at(node, action.path)
    point = next((one for one in replica.points if one.sequence == action.sequence), None)
    if point is None or point.known_bad:
        raise Refused(f"{node.name}: restore point {action.sequence} of {action.machine} is not"
                      " there, or reads wrong: it is not drilled")
    if PIN in replica.pins:
        raise Unavailable(f"{node.name}: a drill of {action.machine} goes on already")
    replica.pins[PIN] = action.sequence
    try:
        yield Wait(START_S)
        why = replica.unbootable
        yield Wait(action.limit_s if why else min(BOOT_S, action.limit_s))
        outcome = DrillOutcome.UNPROVEN if why else DrillOutcome.PROVEN
        sentence = why or "it runs and reads of its disks"
        replica.drills.append(DrillFacts(
            world.epoch(), action.sequence, outcome, sentence, START_S,
            None if why else START_S + BOOT_S, action.content, action.by))
    finally:
        replica.pins.pop(PIN, None)
    return (f"restore point {action.sequence} of {action.machine} on {node.name} is"
            f" {outcome.value}: {sentence}")
