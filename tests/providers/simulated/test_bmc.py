"""The BMCs of simulated hosts: each dialect gets the answer that the real one gets."""

import asyncio

import pytest

from controller.errors import ActionError
from controller.model.facts import Absent, Known
from controller.plan.actions.fencing import FenceHost
from controller.providers.simulated.bmc import DIALECTS
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.virtual_time import run_virtual
from tests.reconcile.stage import lab
from tests.simulation.estates import with_host

FENCES = {"plain", "idrac", "ilo", "openbmc", "supermicro", "chassis", "task202", "slow-off",
          "flaky", "empty-body", "always-on"}
PROVES_NOTHING = {"stuck", "liar", "null-state"}
NOT_HEARD = {"hangs", "http500", "html", "unreachable"}
REFUSES = {"two", "no-forceoff", "wrong-password", "wrong-certificate", "expired"}
FENCE = FenceHost(target="Host/paris-1", node="paris-1", reason="it is silent")


def estate() -> SimulatedEstate:
    """Return the lab, without a BMC at paris-2."""
    return SimulatedEstate(with_host(lab(), "paris-2", bmc=None), converged=True)


async def fenced(world: SimulatedEstate) -> str:
    """Fence paris-1; return the sentence, or the name of the error."""
    try:
        return await world.apply(FENCE)
    except ActionError as error:
        return type(error).__name__


def test_every_dialect_is_tried_here() -> None:
    assert set(DIALECTS) == FENCES | PROVES_NOTHING | NOT_HEARD | REFUSES | {"stranger"}


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_each_dialect_gets_its_answer(dialect: str) -> None:
    async def whole() -> None:
        world = estate()
        world.command(f"bmc paris-1 {dialect}")
        world.command("hang paris-1")
        said = await fenced(world)
        node = world.world.node("paris-1")
        if dialect in FENCES:
            assert said.startswith("cut the power of paris-1: its BMC reads Off twice")
        elif dialect != "stranger":
            assert said == ("OutcomeUnknown" if dialect in PROVES_NOTHING else
                            "Unavailable" if dialect in NOT_HEARD else "Refused")
        else:
            assert said.startswith("found no power")    # its UUID is what gives it away
        assert node.powered == (dialect not in {*FENCES, "null-state"})
        await world.close()

    run_virtual(whole())


def test_a_bmc_that_gives_power_back_is_seen_to() -> None:
    async def whole() -> None:
        world = estate()
        world.command("bmc paris-1 always-on")
        await world.apply(FENCE)
        seen = []
        for _ in range(2):
            fact = await world.observe_power("paris-1")
            assert isinstance(fact, Known)
            seen.append((fact.value.state, fact.value.is_off))
            await asyncio.sleep(30)
        assert seen == [("Off", True), ("On", False)]
        await world.close()

    run_virtual(whole())


def test_a_bmc_dies_with_its_site_and_a_host_may_have_none() -> None:
    async def whole() -> None:
        world = estate()
        world.command("site paris cut")
        assert await fenced(world) == "Unavailable"
        assert isinstance(await world.observe_power("paris-2"), Absent)
        with pytest.raises(ActionError, match="Host/paris-2 declares no BMC"):
            await world.apply(FenceHost(target="Host/paris-2", node="paris-2", reason="silent"))
        await world.close()

    run_virtual(whole())
