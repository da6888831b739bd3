"""Failovers: records on survivors, and the end of copies of older epochs."""

from controller.errors import Refused
from controller.plan.actions.failover import EndStaleDomain, WriteRecord
from controller.providers.simulated.hands.effect import Effect, Wait
from controller.providers.simulated.power import end_domain
from controller.providers.simulated.world import World


def write_record(world: World, action: WriteRecord) -> Effect:
    """Save a record, unless the node has a newer one."""
    yield Wait(0.1)
    records = world.node(action.node).records
    held = records.get(action.record.scope)
    if held is not None and action.record.rank < held.rank:
        raise Refused(f"{action.node} keeps its record of {held.scope}: it has a newer one, of"
                      f" epoch {held.epoch}")
    records[action.record.scope] = action.record
    return f"{action.node} has the record of {action.record.scope}: {action.record.phase}"


def end_stale(world: World, action: EndStaleDomain) -> Effect:
    """End a copy of an older epoch; its disks stay."""
    yield Wait(0.3)
    node = world.node(action.node)
    domain = next((one for one in node.domains.values() if one.uuid == action.uuid), None)
    if domain is None:
        return f"{action.domain} is not on {node.name} any more"
    epoch = 0 if domain.ownership is None else domain.ownership.epoch
    if epoch != action.epoch:
        raise Refused(f"{action.domain} on {node.name} has epoch {epoch} by now")
    if domain.state.active:
        end_domain(node, domain, "destroyed")
        world.notify(node.name)
    return f"ended the copy of {action.domain} with epoch {epoch} on {node.name}"
