"""The effect of a drill: points are started beside their replicas, judged, and taken away."""

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
    """Start points, wait until they serve or their time is over, and note what came of it."""
    node = world.node(action.node)
    found = [(one, replica_at(node, one.path)) for one in action.machines]
    for one, replica in found:
        point = next((each for each in replica.points if each.sequence == one.sequence), None)
        if point is None or point.known_bad:
            raise Refused(f"{node.name}: restore point {one.sequence} of {one.machine} is not"
                          " there, or reads wrong: it is not drilled")
        if PIN in replica.pins:
            raise Unavailable(f"{node.name}: a drill of {one.machine} goes on already")
    for one, replica in found:
        replica.pins[PIN] = one.sequence
    said = []
    try:
        yield Wait(START_S * len(found))
        boots = not any(replica.unbootable for _, replica in found)
        yield Wait(min(BOOT_S, action.limit_s) if boots else action.limit_s)
        for one, replica in found:
            why = replica.unbootable
            outcome = DrillOutcome.UNPROVEN if why else DrillOutcome.PROVEN
            sentence = why or "it runs and reads of its disks"
            replica.drills.append(DrillFacts(
                world.epoch(), one.sequence, outcome, sentence, START_S,
                None if why else START_S + BOOT_S, one.content, action.by))
            said.append(f"restore point {one.sequence} of {one.machine} on {node.name} is"
                        f" {outcome.value}: {sentence}")
    finally:
        for _, replica in found:
            replica.pins.pop(PIN, None)
    return "; ".join(said)
