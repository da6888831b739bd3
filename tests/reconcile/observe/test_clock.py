"""The controller's clock is wrong for a while and right again: nothing is lost."""

import asyncio
from dataclasses import replace

import pytest

from controller.plan.survey.context import Suspension
from controller.providers.simulated.virtual_time import epoch_clock, run_virtual
from controller.reconcile.report.event import EventKind
from tests.reconcile.decide.test_removal import REMOVE, WEB, declared, files, without_web
from tests.reconcile.stage import lab, playing

DAY_S = 86400.0


@pytest.mark.parametrize("ahead_s", [10 * DAY_S, 700.0, -40.0, -DAY_S])
def test_a_removal_waits_all_its_time_whatever_the_clock_says(ahead_s: float) -> None:
    async def play() -> None:
        async with playing(declared()) as show:
            await show.settled()
            before = files(show)
            await show.loop.set_desired(without_web(declared()))
            await asyncio.sleep(100)
            show.stage.ahead_s = ahead_s
            await asyncio.sleep(450)
            assert REMOVE not in show.stage.applied
            show.stage.ahead_s = 0.0
            await asyncio.sleep(5)
            await show.loop.set_desired(replace(declared(), revision="back"))
            await asyncio.sleep(120)
            assert files(show) == before
            assert show.stage.applied == []
    run_virtual(play())


def test_a_pause_that_seemed_to_have_ended_holds_again() -> None:
    async def play() -> None:
        async with playing(lab()) as show:
            await show.settled()
            until_at = epoch_clock() + 3600
            show.store.suspend(Suspension(WEB, "ann", "work", until_at))
            await asyncio.sleep(1)
            show.stage.ahead_s = DAY_S
            show.store.suspend(Suspension("VirtualMachine/db", "ann", "work", until_at))
            await asyncio.sleep(5)
            show.stage.ahead_s = 0.0
            await asyncio.sleep(60)
            show.strike(f"kill {next(iter(show.stage.estate.world.copies('web')))} web")
            await asyncio.sleep(120)
            assert not [one for one in show.stage.applied if WEB in one]
            assert show.told(EventKind.REFUSED, WEB)
    run_virtual(play())
