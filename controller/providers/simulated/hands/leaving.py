"""Leaving: marks, guards, grantors and files of ours go; guests run on."""

from controller.errors import Refused
from controller.plan.actions.leaving import EndGrantor, EndGuard, ForgetNode, RemoveMark
from controller.providers.simulated.guarding.grants import grantor_in, guard_in
from controller.providers.simulated.hands.effect import Effect, Wait, domain_of
from controller.providers.simulated.world import World


def remove_mark(world: World, action: RemoveMark) -> Effect:
    """Take our mark out of a domain."""
    yield Wait(0.1)
    domain = domain_of(world.node(action.node), action.domain)
    domain.ownership = None
    return f"{action.domain} on {action.node} bears no mark of ours any more"


def end_guard(world: World, action: EndGuard) -> Effect:
    """End a guard, once those that may grant to it know."""
    yield Wait(0.5)
    node = world.node(action.node)
    guard = guard_in(node)
    asked = () if guard is None else guard.orders.grantors
    counting = sorted({one.name for one in asked} - {*action.grantors})
    if counting:
        raise Refused(f"the guard of {action.node} was not ended: {' and '.join(counting)} still"
                      " counts on this guard: disarm the host there first")
    node.guard = None
    return f"the guard of {action.node} has ended; its guests run on"


def end_grantor(world: World, action: EndGrantor) -> Effect:
    """End a grantor."""
    yield Wait(0.1)
    world.node(action.node).grantor = None
    return f"the grantor of {action.node} has ended"


def forget(world: World, action: ForgetNode) -> Effect:
    """Remove our files from a node."""
    yield Wait(0.3)
    node = world.node(action.node)
    if guard_in(node) is not None or grantor_in(node) is not None:
        raise Refused(f"not all of ours was removed from {action.node}: guard/guard.sock listens:"
                      " what listens there has to be ended first")
    count = len(node.records) + len(node.traces.programs) + len(node.traces.keys)
    node.records.clear()
    node.traces.programs.clear()
    node.traces.keys.clear()
    return f"removed {count} files and folders of ours from {action.node}"
