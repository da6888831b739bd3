"""What must hold of every decision, whatever happens; counted anew, not by what decides."""

from controller.failover.orders import Decision, Fence, Promote, Revoke, WriteRecord
from controller.failover.situation import Situation
from tests.simulation.failover.world import World

LEAST_PLACES = 2


def check_orders(world: World, situation: Situation, decision: Decision) -> None:
    """Note every law that the orders of a decision break."""
    if decision.orders and not situation.lease.fresh:
        world.fail(f"orders without a lease: {decision.orders[0]}")
    for order in decision.orders:
        if isinstance(order, Promote):
            _proven(world, situation, decision, order)
        elif isinstance(order, WriteRecord) and order.record.phase == "revoking":
            if not order.record.ordered and not any(
                    copy.record.scope == decision.scope and copy.record.phase == "revoking"
                    for copy in situation.records):
                _agreed(world, situation, order)
        elif isinstance(order, Revoke | Fence):
            _recorded(world, situation, decision, order)


def _proven(world: World, situation: Situation, decision: Decision, order: Promote) -> None:
    machine = situation.machines[order.machine]
    for host in {machine.home, *machine.may_run_on}:
        if situation.hosts[host].silent_s < situation.suspect_after_s:
            continue
        if not any(copy.record.scope == decision.scope and copy.record.epoch == order.epoch
                   and host in copy.record.hosts
                   and copy.record.hosts[host].proof is not None
                   for copy in situation.records):
            world.fail(f"promotion without a proof: {order.machine}, and {host} may run it")


def _agreed(world: World, situation: Situation, order: WriteRecord) -> None:
    """Two places have to say of each host that it is silent; our own is one."""
    hosts = order.record.hosts
    late = situation.suspect_after_s
    places = {situation.place} - {None}
    for view in situation.views:
        if (view.age_s is not None and view.age_s <= late and view.listening_s >= late
                and all(view.heard_s.get(host, late) >= late for host in hosts)):
            places.add(view.place)
    if len(places) < LEAST_PLACES:
        world.fail(f"given up without two places: {order.record.scope}")


def _recorded(world: World, situation: Situation, decision: Decision,
              order: Revoke | Fence) -> None:
    if not any(copy.record.scope == decision.scope and copy.record.epoch == order.epoch
               for copy in situation.records):
        world.fail(f"acted before the record: {order}")
