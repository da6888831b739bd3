"""A commit that renames objects disturbs nothing that runs; renaming by hand is noticed."""

import asyncio
from dataclasses import replace
from typing import Any

from controller.model.document import Rung
from controller.plan.survey.context import Suspension
from controller.providers.simulated.virtual_time import epoch_clock, run_virtual
from controller.reconcile.report.event import EventKind
from controller.store.store import Store
from tests.plan.renaming import called
from tests.reconcile.stage import Show, lab, playing, with_estate


def renamed(old: Any, kind: str, former: str, name: str) -> Any:
    """Return a commit in which one object has another name."""
    return replace(called(old, kind, former, name), revision=f"r-{name}")


def settled(show: Show, revision: str) -> bool:
    """Whether nothing is left to do for a revision."""
    plan = show.loop.plan
    return plan is not None and plan.revision == revision and not plan.steps


def running(show: Show) -> dict[str, tuple[str, str]]:
    """Every domain that runs, by uuid, with its host and its name."""
    world = show.stage.estate.world
    return {domain.uuid: (node.name, domain.name) for node in world.nodes.values()
            for domain in node.domains.values() if domain.state.active}


def test_renaming_everything_restarts_moves_and_forgets_nothing() -> None:
    async def play() -> None:
        desired = with_estate(lab(), autonomy=Rung.DELETE)
        store = Store.open(":memory:")
        async with playing(desired, store=store) as show:
            await show.settled()
            show.strike("shutoff any sql")
            await show.until(lambda: bool(show.told(EventKind.OUTCOME, "VirtualMachine/sql")))
            await show.settled()
            before = running(show)
            store.suspend(Suspension("VirtualMachine/sql", "ann", "a look", epoch_clock() + 100))
            show.loop.reread()
            new = renamed(renamed(desired, "virtual_machines", "sql", "sql-prod"),
                         "hosts", "paris-1", "par-1")
            new = renamed(renamed(new, "sites", "milan", "milano"), "networks", "office", "bureau")
            show.stage.applied.clear()
            await show.loop.set_desired(new)
            await asyncio.sleep(30)
            assert show.loop.plan is not None
            assert {step.ruling.rule for step in show.loop.plan.steps} == {"suspended"}
            await show.until(lambda: settled(show, new.revision))
            assert {one.partition(":")[0] for one in show.stage.applied} == {"reconfigure"}
            assert running(show) == {uuid: (host.replace("paris-1", "par-1"), name)
                                     for uuid, (host, name) in before.items()}
            told = [event.verb for event in store.events(99, "VirtualMachine/sql-prod")]
            assert "start" in told, "its history came along"
            assert not store.events(99, "VirtualMachine/sql")
            assert "paris-1" not in store.seen()
            marks = {domain.ownership.name for node in show.stage.estate.world.nodes.values()
                     for domain in node.domains.values() if domain.ownership}
            assert "sql-prod" in marks
            assert "sql" not in marks

    run_virtual(play())


def test_a_renamed_estate_keeps_all_its_vms() -> None:
    async def play() -> None:
        desired = with_estate(lab(), autonomy=Rung.DELETE)
        async with playing(desired) as show:
            await show.settled()
            before = running(show)
            named = desired.estate.model_copy(update={
                "metadata": desired.estate.metadata.model_copy(update={"name": "firm"}),
                "spec": desired.estate.spec.model_copy(update={"formerly": ("lab",)})})
            await show.loop.set_desired(replace(desired, revision="r2", estate=named))
            await show.until(lambda: settled(show, "r2"))
            assert running(show) == before
            assert {domain.ownership.estate for node in show.stage.estate.world.nodes.values()
                    for domain in node.domains.values() if domain.ownership} == {"firm"}

    run_virtual(play())


def test_a_vm_that_somebody_moved_under_another_name_is_not_made_again() -> None:
    async def play() -> None:
        async with playing(with_estate(lab(), autonomy=Rung.DELETE)) as show:
            await show.settled()
            show.strike("rename-migrate sql paris-2 sql-tmp")
            await asyncio.sleep(120)
            assert show.stage.applied == []
            names = [name for _, name in running(show).values()]
            assert "sql-tmp" in names
            assert "sql" not in names
            show.strike("rename any sql-tmp sql")
            await show.until(lambda: "sql" in [name for _, name in running(show).values()])

    run_virtual(play())
