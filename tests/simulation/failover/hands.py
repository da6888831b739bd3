"""What a controller's orders do to the machines that it reaches."""

from typing import TYPE_CHECKING

from controller.failover.orders import (
    Fence,
    Order,
    Promote,
    Quarantine,
    Restore,
    Resume,
    Reverse,
    Revoke,
    WriteRecord,
)
from tests.simulation.failover.host import Host
from tests.simulation.failover.nodes import Grantor, Node

if TYPE_CHECKING:
    from tests.simulation.failover.controller import Controller


def reached(me: "Controller", name: str) -> Node | None:
    """Return a node that takes orders of this controller's term."""
    assert me.estate is not None
    node = me.estate.nodes.get(name)
    if (node is None or not node.up()
            or not me.world.answers(me.name, name)):
        return None
    if node.term > me.term and not me.world.mistakes.ignores_leases:
        me.world.say(f"{name} refuses term {me.term} of {me.name}")
        return None
    node.term = max(node.term, me.term)
    return node


def carry_out(me: "Controller", order: Order) -> None:
    """Do one order, if whom it is for can be reached."""
    assert me.estate is not None
    if isinstance(order, Revoke | Restore):
        _grant(me, order)
    elif isinstance(order, WriteRecord):
        for name in order.nodes:
            node = reached(me, name)
            if node is not None:
                node.write(order.record)
    elif isinstance(order, Fence):
        _fence(me, me.estate.hosts[order.host])
    elif isinstance(order, Promote | Resume):
        _start(me, order)
    elif isinstance(order, Quarantine):
        _quarantine(me, order)
    elif isinstance(order, Reverse):
        _reverse(me, order)


def _grant(me: "Controller", order: Revoke | Restore) -> None:
    grantor: Grantor | None = (me if order.grantor == "controller"
                               else reached(me, order.grantor))
    for host in order.hosts if grantor is not None else ():
        if isinstance(order, Revoke):
            grantor.revoke(host, order.epoch)
        else:
            grantor.restore(host, order.epoch)


def _fence(me: "Controller", host: Host) -> None:
    bmc = host.bmc
    if bmc is None or bmc.dialect == "dead" or not me.world.passes(me.name,
                                                                      f"bmc-{host.name}"):
        return
    if bmc.dialect in {"plain", "slow"}:
        boot = host.boot
        delay_s = 1.0 if bmc.dialect == "plain" else 8.0
        me.world.after(delay_s, lambda: host.power_off() if host.boot == boot
                         and host.power else None)
        if me.world.dice.random() < 0.3:          # AlwaysOn, or a person
            me.world.after(me.world.dice.uniform(30, 120), host.power_on)


def _start(me: "Controller", order: Promote | Resume) -> None:
    assert me.estate is not None
    name = order.node if isinstance(order, Promote) else order.host
    host = reached(me, name)
    if not isinstance(host, Host):
        return
    epoch = order.epoch
    if me.world.mistakes.forgets_epoch:
        epoch = 0
    if isinstance(order, Promote):
        me.world.promotions += 1
        me.estate.replicas[order.machine].epoch = epoch
        me.estate.fresh_reverse.discard(order.machine)
        me.estate.compared.discard(order.machine)
    me.estate.start(order.machine, host, epoch)


def _quarantine(me: "Controller", order: Quarantine) -> None:
    host = reached(me, order.host)
    if isinstance(host, Host):
        for machine in order.machines:
            if host.guests.get(machine, order.epoch) < order.epoch:
                host.remove(machine)
                me.world.say(f"the stale {machine} on {host.name} is ended")
        assert me.estate is not None
        if not me.estate.compared.issuperset(order.machines):
            me.estate.compared.update(order.machines)
            me.world.stir()


def _reverse(me: "Controller", order: Reverse) -> None:
    assert me.estate is not None
    replica = me.estate.replicas[order.machine]
    if reached(me, order.host) is not None and me.world.dice.random() < 0.3:
        running = next((host.name for host in me.estate.hosts.values()
                        if order.machine in host.guests), None)
        if running is not None and reached(me, running) is not None:
            replica.node, replica.epoch = order.host, order.epoch
            me.estate.fresh_reverse.add(order.machine)
            me.world.stir()
