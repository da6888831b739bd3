"""Ways that are cut: who does not reach whom, while everybody else reaches both."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from controller.model.facts import Known
from controller.plan.actions.guarding import InstallGrantor, InstallGuard
from controller.plan.guarding.orders import orders_of
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.paths import stream_flows
from controller.providers.simulated.virtual_time import run_virtual
from tests.plan.guarded import guarded

SPECS = guarded()


def played(cut: tuple[str, ...], look: Callable[[SimulatedEstate], Any]) -> Any:
    """What is seen once guards and grantors run, a way is cut, and a minute has passed."""
    async def whole() -> Any:
        estate, orders = SimulatedEstate(SPECS, converged=True), orders_of(SPECS)
        for name, told in orders.grantors.items():
            await estate.apply(InstallGrantor(target=name, node=name, reason="", orders=told))
        for name, told in orders.guards.items():
            await estate.apply(InstallGuard(target=name, node=name, reason="", orders=told))
        await estate.observe("hq")
        for command in cut:
            estate.command(command)
        await asyncio.sleep(60)
        found = await look(estate)
        await estate.close()
        return found

    return run_virtual(whole())


async def heard_by(estate: SimulatedEstate) -> dict[str, tuple[str, ...]]:
    """Whom each grantor hears; no entry: the controller does not reach it."""
    found = {}
    for name in sorted(orders_of(SPECS).grantors):
        fact = await estate.observe(name)
        if isinstance(fact, Known) and isinstance(fact.value.grantor, Known):
            found[name] = fact.value.grantor.value.hears
    return found


ALL = {"hq": ("milan-1", "milan-2", "paris-1", "paris-2"), "milan-1": ("paris-1", "paris-2"),
       "milan-2": ("paris-1", "paris-2"), "paris-1": ("milan-1", "milan-2"),
       "paris-2": ("milan-1", "milan-2")}


@pytest.mark.parametrize(("cut", "changed"), [
    ((), {}),
    (("way paris-1 hq cut",), {"hq": ("milan-1", "milan-2", "paris-2")}),
    (("way hq paris cut",), {"hq": ("milan-1", "milan-2")}),
    (("way paris-1 milan-2 cut",), {"milan-2": ("paris-2",), "paris-1": ("milan-1",)}),
    (("way paris milan cut",), {name: () for name in ALL if name != "hq"}),
    (("way controller paris cut",), {"paris-1": None, "paris-2": None}),
    (("way paris milan cut", "way milan paris join"), {}),
])
def test_who_is_cut_off_from_whom_is_not_heard(
        cut: tuple[str, ...], changed: dict[str, Any]) -> None:
    wanted = {name: heard for name, heard in {**ALL, **changed}.items() if heard is not None}
    assert played(cut, heard_by) == wanted


async def flows(estate: SimulatedEstate) -> bool:
    """Whether copies pass from paris-1 to milan-2."""
    return stream_flows(estate.world, "paris-1", "milan-2")


def test_copies_pass_where_the_way_is_not_cut() -> None:
    assert played((), flows)
    assert not played(("way milan paris cut",), flows)
    assert played(("way milan-1 paris cut",), flows)


def test_a_way_to_nobody_is_refused() -> None:
    async def ask(estate: SimulatedEstate) -> None:
        with pytest.raises(ValueError, match="rome"):
            estate.command("way paris rome cut")

    played((), ask)
