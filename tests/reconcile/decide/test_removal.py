"""Objects that leave the specs, for a moment or for good, and VMs that are nowhere any more."""

import asyncio
from dataclasses import replace

import pytest

from controller.model.desired import Desired
from controller.model.document import Rung
from controller.model.virtual_machine import Deletion
from controller.plan.actions.action import Action
from controller.plan.gates.approval import content
from controller.plan.survey.context import Approval
from controller.providers.simulated.virtual_time import epoch_clock, run_virtual
from controller.store.store import Store
from tests.reconcile.stage import Show, Stage, lab, playing, with_estate, with_machine

WEB = "VirtualMachine/web"
REMOVE = f"remove:{WEB}@paris-2"


def declared() -> Desired:
    """The lab with a VM that may be deleted, and hands that may delete."""
    limits = lab().estate.spec.limits.model_copy(update={
        "deletes": 1, "removal_grace_s": 600.0, "purge_after_s": 7200.0})
    return with_machine(with_estate(lab(), autonomy=Rung.DELETE, limits=limits, poll_s=60.0),
                        "web", "r1", deletion=Deletion.DELETE)


def without_web(desired: Desired) -> Desired:
    return replace(desired, revision="half", virtual_machines={
        name: one for name, one in desired.virtual_machines.items() if name != "web"})


def files(show: Show) -> list[str]:
    """The names of all files of web, with the serial of what they hold."""
    return [f"{path.rpartition('/')[2]} {file.serial}"
            for node in show.stage.estate.world.nodes.values()
            for path, file in sorted(node.files.items()) if "/web-" in path]


def test_a_spec_that_is_missing_for_a_moment_takes_nothing_along() -> None:
    async def play() -> None:
        async with playing(declared()) as show:
            await show.settled()
            before = files(show)
            for away_s in (1.0, 300.0, 590.0):
                await show.loop.set_desired(without_web(declared()))
                await asyncio.sleep(away_s)
                await show.loop.set_desired(declared())
                await asyncio.sleep(120)
            assert show.stage.applied == []
            assert files(show) == before
    run_virtual(play())


def test_what_is_removed_is_set_aside_and_purged_later() -> None:
    async def play() -> None:
        async with playing(declared()) as show:
            await show.settled()
            (before,) = files(show)
            await show.loop.set_desired(without_web(declared()))
            await asyncio.sleep(500)
            assert files(show) == [before]
            await asyncio.sleep(300)
            (aside,) = files(show)
            assert aside.startswith("web-vda.qcow2.hotsite-removed-")
            assert aside.partition(" ")[2] == before.partition(" ")[2]
            await asyncio.sleep(7200)
            assert files(show) == []
    run_virtual(play())


def test_a_spec_that_comes_back_later_finds_its_disks_again() -> None:
    async def play() -> None:
        async with playing(declared()) as show:
            await show.settled()
            before = files(show)
            await show.loop.set_desired(without_web(declared()))
            await asyncio.sleep(3600)
            assert files(show) != before
            await show.loop.set_desired(declared())
            await asyncio.sleep(120)
            assert files(show) == before
            assert len(show.stage.estate.world.copies("web")) == 1
            assert not any(one.startswith("create-disk") for one in show.stage.applied)
    run_virtual(play())


def test_a_removal_waits_no_longer_and_no_shorter_when_the_controller_begins_anew() -> None:
    async def play() -> None:
        stage, store = Stage(declared()), Store.open(":memory:")
        async with playing(declared(), stage=stage, store=store) as show:
            await show.settled()
            await show.loop.set_desired(without_web(declared()))
            await asyncio.sleep(400)
        async with playing(without_web(declared()), stage=stage, store=store) as show:
            await asyncio.sleep(150)
            assert REMOVE not in stage.applied
            await asyncio.sleep(100)
            assert REMOVE in stage.applied
        await stage.close()
    run_virtual(play())


def test_time_in_which_no_controller_ran_is_no_time_in_which_it_was_looked_at_again() -> None:
    async def play() -> None:
        stage, store = Stage(declared()), Store.open(":memory:")
        async with playing(declared(), stage=stage, store=store) as show:
            await show.settled()
            await show.loop.set_desired(without_web(declared()))
            await asyncio.sleep(400)
        await asyncio.sleep(86400)
        async with playing(without_web(declared()), stage=stage, store=store) as show:
            await asyncio.sleep(150)
            assert REMOVE not in stage.applied
            assert files(show)
            await asyncio.sleep(100)
            assert REMOVE in stage.applied
        await stage.close()
    run_virtual(play())


def test_a_controller_that_has_lost_its_memory_waits_all_the_time() -> None:
    async def play() -> None:
        stage = Stage(declared())
        async with playing(without_web(declared()), stage=stage) as show:
            await asyncio.sleep(590)
            assert stage.applied == []
            assert files(show)
        await stage.close()
    run_virtual(play())


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("blinks", [False, True])
def test_what_stood_on_a_host_that_shows_nothing_any_more_is_not_made_anew(
        restarted: bool, blinks: bool) -> None:
    async def play() -> None:
        stage, store = Stage(declared()), Store.open(":memory:")
        async with playing(declared(), stage=stage, store=store) as show:
            await show.settled()
            assert files(show)
            if not restarted:
                await lose_everything(show, blinks)
        if restarted:
            async with playing(declared(), stage=stage, store=store) as show:
                await lose_everything(show, blinks)
        await stage.close()
    run_virtual(play())


@pytest.mark.parametrize("lost_too", [False, True], ids=["domains left", "domains lost, too"])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_file_system_that_is_not_mounted_is_no_empty_pool(
        restarted: bool, lost_too: bool) -> None:
    async def play() -> None:
        stage, store = Stage(declared()), Store.open(":memory:")
        world = stage.estate.world
        async with playing(declared(), stage=stage, store=store) as show:
            await show.settled()
            before = files(show)
            (host,) = world.copies("web")
            if not restarted:
                await unmounted(show, host, before, lost_too)
        if restarted:
            show.strike(f"unmount {host}")
            async with playing(declared(), stage=stage, store=store) as show:
                await unmounted(show, host, before, lost_too, struck=True)
        await stage.close()
    run_virtual(play())


async def unmounted(show: Show, host: str, before: list[str], lost_too: bool, *,
                    struck: bool = False) -> None:
    if not struck:
        show.strike(f"unmount {host}")
    if lost_too:
        show.stage.estate.world.node(host).domains.clear()
    await asyncio.sleep(300)
    assert not any(one.startswith(("create-disk", "define", f"start:{WEB}"))
                   for one in show.stage.applied)
    plan = show.loop.plan
    assert plan is not None
    asked = [step for step in plan.steps if step.ruling.rule == "pool"]
    assert [step.action.id for step in asked] == [f"accept-pool:Host/{host}@{host}/default"]
    assert "web-vda.qcow2" in asked[0].ruling.sentence
    assert any("mount its file system there" in one.sentence for one in plan.remarks)
    show.stage.estate.command(f"mount {host}")
    await show.settled(300)
    assert files(show) == before
    assert show.stage.estate.world.copies("web")


def test_another_file_system_is_taken_by_a_persons_word_and_then_asked_about_no_more() -> None:
    async def play() -> None:
        stage, store = Stage(declared()), Store.open(":memory:")
        async with playing(declared(), stage=stage, store=store) as show:
            await show.settled()
            (host,) = stage.estate.world.copies("web")
            show.strike(f"unmount {host}")
            await show.until(lambda: show.loop.plan is not None and any(
                step.ruling.rule == "pool" for step in show.loop.plan.steps), 300)
            say_yes(show, "pool")
            await asyncio.sleep(60)
        async with playing(declared(), stage=stage, store=store) as show:
            await asyncio.sleep(60)
            plan = show.loop.plan
            assert plan is not None
            assert "pool" not in {step.ruling.rule for step in plan.steps}
        await stage.close()
    run_virtual(play())


def say_yes(show: Show, rule: str) -> list[Action]:
    """Let a person say yes to what a rule asks about, and return it."""
    plan = show.loop.plan
    assert plan is not None
    asked = [step.action for step in plan.steps if step.ruling.rule == rule]
    for action in asked:
        show.store.approve(Approval(action.id, plan.revision, "ann", epoch_clock() + 60,
                                    content(action)))
    show.loop.reread()
    return asked


async def lose_everything(show: Show, blinks: bool) -> None:
    """Let web's host show no domain and no file of it, as when a file system is not mounted."""
    (host,) = show.stage.estate.world.copies("web")
    node = show.stage.estate.world.node(host)
    show.stage.applied.clear()
    if blinks:
        await show.loop.set_desired(without_web(declared()))
        await asyncio.sleep(30)
    for path in [path for path in node.files if "/web-" in path]:
        del node.files[path]
    del node.domains["web"]
    await asyncio.sleep(200)
    if blinks:
        await show.loop.set_desired(declared())
        await asyncio.sleep(200)
    assert files(show) == []
    assert [one.target for one in say_yes(show, "anew")] == [WEB]
    await asyncio.sleep(60)
    assert files(show)
