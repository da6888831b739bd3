"""A change that cut a node off, and that the node undid by itself, is not tried again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from controller.errors import ActionError, OutcomeUnknown, Undone
from controller.model.condition import ConditionType
from controller.model.desired import Desired
from controller.model.document import Rung
from controller.model.network import Network
from controller.plan.actions.action import Action
from controller.plan.gates.approval import content
from controller.plan.steps.plan import Verdict
from controller.plan.survey.context import Approval
from controller.providers.simulated.virtual_time import epoch_clock, run_virtual
from controller.reconcile.once import Once
from controller.store.store import Store
from tests.reconcile.stage import Show, Stage, lab, playing, with_estate

HOST = "Host/paris-1"
WIDEN = f"widen-trunk:{HOST}@paris-1/up0"
DAY_S = 86400.0


def with_network(desired: Desired, revision: str, *vlans: int) -> Desired:
    """The same specs with more networks."""
    more = {f"net-{vlan}": Network.model_validate({
        "kind": "Network", "metadata": {"name": f"net-{vlan}"},
        "spec": {"vlan": vlan, "sites": ["paris", "milan"]}}) for vlan in vlans}
    return replace(desired, revision=revision, networks={**desired.networks, **more})


def cutting(error: ActionError) -> Callable[[Action], Awaitable[None]]:
    """Whatever is done to the uplink of paris-1 cuts it off, and it undoes it."""
    async def meddle(action: Action) -> None:
        if action.node == "paris-1" and action.reverts:
            await asyncio.sleep(30)
            raise error
    return meddle


def outages(show: Show) -> int:
    return show.stage.applied.count(WIDEN)


def stalled(store: Store) -> list[str]:
    return [one.message for one in store.conditions()
            if one.type is ConditionType.STALLED and one.target == HOST]


GRANTED = with_estate(lab(), autonomy=Rung.NETWORK)
UNDONE = Undone("once it was, paris-1 could not be reached any more, and undid it by itself")


@pytest.mark.parametrize("error", [UNDONE, OutcomeUnknown("the connection broke")])
def test_a_cut_is_made_once_a_day_and_longer(error: ActionError) -> None:
    async def play() -> None:
        store = Store.open(":memory:")
        async with playing(GRANTED, store=store) as show:
            await show.settled()
            show.stage.meddle = cutting(error)
            show.stage.applied.clear()
            await show.loop.set_desired(with_network(GRANTED, "r2", 777))
            await asyncio.sleep(DAY_S)
            assert outages(show) == 1
            [message] = stalled(store)
            assert "paris-1 undid it by itself" in message
            assert str(error) in message
            assert "hotsite approve" not in message
            steps = show.loop.plan.steps if show.loop.plan else ()
            assert [(step.action.id, step.ruling.rule) for step in steps] == [(WIDEN, "undone")]

    run_virtual(play())


def test_a_restart_forgets_no_cut() -> None:
    async def play() -> None:
        stage, store = Stage(GRANTED), Store.open(":memory:")
        after = with_network(GRANTED, "r2", 777)
        async with playing(GRANTED, store=store, stage=stage) as show:
            await show.settled()
            stage.meddle = cutting(UNDONE)
            await show.loop.set_desired(after)
            await show.until(lambda: bool(stalled(store)))
        async with playing(after, store=store, stage=stage) as show:
            await asyncio.sleep(3600)
            assert outages(show) == 1
            assert stalled(store)
        await stage.close()

    run_virtual(play())


def test_another_commit_changes_nothing_and_one_about_it_is_another_try() -> None:
    async def play() -> None:
        async with playing(GRANTED) as show:
            await show.settled()
            show.stage.meddle = cutting(UNDONE)
            show.stage.applied.clear()
            await show.loop.set_desired(with_network(GRANTED, "r2", 777))
            await asyncio.sleep(600)
            other = with_network(GRANTED, "r3", 777)
            machines = {name: vm for name, vm in other.virtual_machines.items() if name != "proxy"}
            await show.loop.set_desired(replace(other, virtual_machines=machines))
            await asyncio.sleep(600)
            assert outages(show) == 1
            await show.loop.set_desired(with_network(GRANTED, "r4", 777, 778))
            await asyncio.sleep(600)
            assert outages(show) == 2

    run_virtual(play())


def test_a_person_lets_it_be_tried_once_more_in_either_way() -> None:
    async def play() -> None:
        store = Store.open(":memory:")
        async with playing(GRANTED, store=store) as show:
            await show.settled()
            show.stage.meddle = cutting(UNDONE)
            show.stage.applied.clear()
            await show.loop.set_desired(with_network(GRANTED, "r2", 777))
            await show.until(lambda: bool(stalled(store)))
            assert show.loop.plan is not None
            [step] = show.loop.plan.steps
            store.approve(Approval(WIDEN, "r2", "ann", epoch_clock() + 60, content(step.action)))
            show.loop.reread()
            await asyncio.sleep(3600)
            assert outages(show) == 2
            show.stage.meddle = None
            assert store.let_again(HOST)
            show.loop.reread()
            await show.settled()
            assert outages(show) == 3
            assert stalled(store) == []
            assert store.undone() == ()

    run_virtual(play())


def test_one_run_makes_one_cut() -> None:
    async def play() -> None:
        stage = Stage(GRANTED)
        once = Once(stage, Store.open(":memory:"), epoch_clock)
        await once.plan(with_network(GRANTED, "r2", 777))
        stage.meddle = cutting(UNDONE)
        result = await once.run(granted_by="ann")
        assert stage.applied.count(WIDEN) == 1
        assert "undid it by itself" in result.failed[WIDEN][1]
        left = {step.action.id: step.ruling.verdict for step in result.plan.steps}
        assert left[WIDEN] is not Verdict.WAITING
        await stage.close()

    run_virtual(play())


def test_a_node_that_falls_silent_after_its_cut_is_not_cut_again_when_it_returns() -> None:
    async def play() -> None:
        async with playing(GRANTED) as show:
            await show.settled()
            show.stage.meddle = cutting(UNDONE)
            show.stage.applied.clear()
            await show.loop.set_desired(with_network(GRANTED, "r2", 777))
            await asyncio.sleep(100)
            show.stage.estate.command("ssh paris-1 pause")
            await asyncio.sleep(300)
            show.stage.estate.command("ssh paris-1 resume")
            await asyncio.sleep(3600)
            assert outages(show) == 1

    run_virtual(play())
