"""A trunk may be narrowed once it was as declared; a VLAN in use delays nothing else."""

import asyncio

from controller.model.document import Rung
from controller.plan.steps.plan import Verdict
from controller.providers.simulated.virtual_time import run_virtual
from controller.store.store import Store
from tests.reconcile.stage import Show, Stage, lab, playing, with_estate

GRANTED = with_estate(lab(), autonomy=Rung.PRUNE)
NARROW = "narrow-trunk:Host/paris-1@paris-1/up0"


def ruling(show: Show) -> tuple[Verdict, str]:
    assert show.loop.plan is not None
    return next((step.ruling.verdict, step.ruling.rule) for step in show.loop.plan.steps
                if step.action.id == NARROW)


def test_what_passes_at_first_sight_is_asked_about_also_after_a_restart() -> None:
    async def play() -> None:
        stage, store = Stage(GRANTED), Store.open(":memory:")
        stage.estate.command("trunk paris-1 up0 add 77")
        for _ in range(2):
            async with playing(GRANTED, stage=stage, store=store) as show:
                await asyncio.sleep(100)
                assert ruling(show) == (Verdict.NEEDS_APPROVAL, "adopt")
        await stage.close()

    run_virtual(play())


def test_what_passes_later_on_is_taken_by_itself_also_after_a_restart() -> None:
    async def play() -> None:
        stage, store = Stage(GRANTED), Store.open(":memory:")
        async with playing(GRANTED, stage=stage, store=store) as show:
            await show.settled()
        stage.estate.command("trunk paris-1 up0 add 77")
        async with playing(GRANTED, stage=stage, store=store) as show:
            await show.until(lambda: NARROW in stage.applied)
            await show.settled()
        await stage.close()

    run_virtual(play())


def test_a_trunk_that_let_every_vlan_pass_at_first_is_asked_about_once_it_lists_them() -> None:
    async def play() -> None:
        stage, store = Stage(GRANTED), Store.open(":memory:")
        stage.estate.command("trunk paris-1 up0 all")
        async with playing(GRANTED, stage=stage, store=store) as show:
            await show.settled()
            port = stage.estate.world.node("paris-1").bridges["br0"].ports["up0"]
            port.trunks = (30, 40, 77, 200)
            stage.estate.world.notify("paris-1")
            await asyncio.sleep(100)
            assert ruling(show) == (Verdict.NEEDS_APPROVAL, "adopt")
        await stage.close()

    run_virtual(play())


def test_a_vlan_that_stays_because_it_is_used_does_not_make_all_drift_a_new_commit() -> None:
    async def play() -> None:
        stage, store = Stage(GRANTED), Store.open(":memory:")
        stage.estate.command("alien paris-1 erp 77")
        async with playing(GRANTED, stage=stage, store=store) as show:
            await show.until(lambda: store.applied() is not None)
            await asyncio.sleep(60)
            assert ruling(show) == (Verdict.REFUSED, "in-use")
            applied = store.applied()
            assert applied is not None
            assert applied.revision == GRANTED.revision
            show.strike("kill paris-1 sql")
            await show.until(lambda: bool(store.events(1, target="VirtualMachine/sql")))
            assert {row.cause for row in store.events(5, target="VirtualMachine/sql")} == {"drift"}
        await stage.close()

    run_virtual(play())
