"""A simulated switch drops what comes from an old copy over the trunk, and nothing else."""

from controller.model.facts import Known
from controller.model.failover.dropped import DroppedAddress
from controller.plan.actions.fencing import AdmitAddresses, DropAddresses
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.virtual_time import run_virtual
from tests.reconcile.stage import lab


async def dropped(world: SimulatedEstate) -> tuple[DroppedAddress, ...]:
    """Return what milan's switch says that it drops."""
    fact = await world.observe("milan-sw")
    assert isinstance(fact, Known)
    assert isinstance(fact.value.dropped, Known)
    return fact.value.dropped.value


def test_an_old_copy_is_not_heard_over_the_trunk_until_it_is_let_in_again() -> None:
    async def whole() -> None:
        world = SimulatedEstate(lab(), converged=True)
        (host,) = world.world.copies("sql")
        live = world.world.node(host).domains["sql"].live
        assert live is not None
        macs = tuple(nic.mac for nic in live.nics)
        pairs = [(one, other) for one in lab().virtual_machines for other in (
            lab().virtual_machines) if one != other and world.ping(one, other)]
        away = [(one, other) for one, other in pairs if one == "sql"
                and world.world.node(world.world.copies(other)[0]).site != "paris"]
        assert away
        await world.apply(DropAddresses(
            target="Switch/milan-sw", node="milan-sw", reason="r", bridge="br0",
            ports=("tr0", "tr1"), macs=macs, epoch=3))
        assert [pair for pair in pairs if not world.ping(*pair)] == away
        assert {(one.port, one.mac, one.epoch) for one in await dropped(world)} == {
            (port, mac, 3) for port in ("tr0", "tr1") for mac in macs}
        await world.apply(AdmitAddresses(target="Switch/milan-sw", node="milan-sw", reason="r",
                                         bridge="br0", macs=macs))
        assert await dropped(world) == ()
        assert all(world.ping(*pair) for pair in pairs)
        await world.close()

    run_virtual(whole())
