"""Guards and grantors: what they are told, and what grantors are ordered."""

from controller.errors import Refused
from controller.plan.actions.guarding import (
    InstallGrantor,
    InstallGuard,
    RestoreGrants,
    RevokeGrants,
)
from controller.providers.simulated.guarding.grants import grantor_in, guard_in
from controller.providers.simulated.guarding.state import GrantorState, GuardState, Refusal
from controller.providers.simulated.hands.effect import Effect, Wait
from controller.providers.simulated.world import World


def install_guard(world: World, action: InstallGuard) -> Effect:
    """Start a guard, or tell the one that runs what it goes by."""
    yield Wait(0.5)
    node = world.node(action.node)
    guard = guard_in(node)
    if guard is None:
        node.guard = GuardState(action.orders, node.boot, world.epoch())
    else:
        guard.orders = action.orders
    return f"the guard of {node.name} runs"


def install_grantor(world: World, action: InstallGrantor) -> Effect:
    """Start a grantor, or tell the one that runs to whom it may grant."""
    yield Wait(0.5)
    node = world.node(action.node)
    grantor = grantor_in(node)
    if grantor is not None:
        grantor.orders = action.orders
    else:
        before = node.grantor
        node.grantor = GrantorState(action.orders, node.boot, world.now())
        if before is not None:
            node.grantor.refused, node.grantor.term = before.refused, before.term
    return f"the grantor of {node.name} answers {', '.join(action.orders.hosts) or 'nobody yet'}"


def revoke(world: World, action: RevokeGrants) -> Effect:
    """Have a grantor refuse hosts."""
    yield Wait(0.1)
    grantor = _grantor(world, action)
    for host in action.hosts:
        if host not in grantor.refused or grantor.refused[host].epoch <= action.epoch:
            grantor.refused[host] = Refusal(action.epoch, action.term, action.by, action.reason)
    return f"{action.node} refuses {', '.join(action.hosts)} for epoch {action.epoch}"


def restore(world: World, action: RestoreGrants) -> Effect:
    """Have a grantor grant to hosts again."""
    yield Wait(0.1)
    grantor = _grantor(world, action)
    kept = [host for host in action.hosts
            if host in grantor.refused and grantor.refused[host].epoch > action.epoch]
    for host in action.hosts:
        if host not in kept:
            grantor.refused.pop(host, None)
    if kept:
        raise Refused(f"{action.node} refuses {', '.join(kept)} for a higher epoch than"
                      f" {action.epoch}")
    return f"{action.node} grants to {', '.join(action.hosts)} again"


def _grantor(world: World, action: RevokeGrants | RestoreGrants) -> GrantorState:
    grantor = grantor_in(world.node(action.node))
    if grantor is None:
        raise Refused(f"no grantor runs on {action.node}")
    if action.term < grantor.term:
        raise Refused(f"a controller of term {grantor.term} has been on {action.node}, and this"
                      f" order is of term {action.term}")
    grantor.term = action.term
    return grantor
