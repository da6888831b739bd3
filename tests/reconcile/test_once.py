"""One run: it continues while it makes progress, survives a kill, and reports what is left."""

import asyncio
from dataclasses import replace
from random import Random
from xml.etree.ElementTree import ParseError

import pytest

from controller.errors import Refused, SpecError, Unavailable
from controller.plan.actions.action import Action
from controller.plan.actions.machine import StartDomain
from controller.plan.output.saved import plan_from_json, plan_to_json
from controller.plan.steps.plan import Ruling, Verdict
from controller.plan.survey.context import ReplicaRequest, RequestKind
from controller.providers.simulated.virtual_time import epoch_clock, run_virtual
from controller.reconcile.once import Once, Result, assumptions, came_up
from controller.reconcile.report.exit_status import ExitStatus, status_of_plan, status_of_run
from controller.source.load import load_folder
from controller.store.store import Store
from tests.reconcile.stage import SPECS, Stage, lab, reporting, with_estate


async def applied(stage: Stage, store: Store, granted_by: str | None = None) -> Result:
    """Run once and return what came of it."""
    once = Once(stage, store, epoch_clock)
    await once.plan(lab())
    return await once.run(granted_by=granted_by)


def test_a_bare_estate_is_built_in_one_run() -> None:
    async def play() -> None:
        stage, store = Stage(lab(), converged=False), Store.open(":memory:")
        result = await applied(stage, store)
        assert result.plan.steps == ()
        assert status_of_run(result.plan, failed=bool(result.failed)) is ExitStatus.DONE
        assert len(stage.applied) == len(set(stage.applied)) == len(result.done)
        assert store.open_intents() == ()
        await stage.close()

    run_virtual(play())


@pytest.mark.parametrize("seed", range(30))
def test_a_run_that_is_killed_anywhere_is_finished_by_the_next(seed: int) -> None:
    async def play() -> None:
        dice = Random(seed)
        stage, store = Stage(lab(), converged=False), Store.open(":memory:")
        for _ in range(3):
            run = asyncio.create_task(applied(stage, store))
            await asyncio.sleep(dice.uniform(0.0, 2.0))
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
        result = await applied(stage, store)
        assert status_of_run(result.plan, failed=bool(result.failed)) is ExitStatus.DONE
        assert store.open_intents() == ()
        world = stage.estate.world
        assert all(len(world.copies(vm)) == 1 for vm in lab().virtual_machines)
        await stage.close()

    run_virtual(play())


def test_what_was_not_reached_is_tried_again_and_what_was_refused_is_not() -> None:
    async def meddle(action: Action) -> None:
        if action.target == "VirtualMachine/sql":
            raise Refused("there is no room: free some")
        if stage.applied.count(action.id) < 3:
            raise Unavailable("no route to host; trying again")

    async def play() -> None:
        stage.meddle = meddle
        for vm in ("sql", "mail"):
            stage.estate.command(f"kill paris-1 {vm}")
        result = await applied(stage, Store.open(":memory:"))
        assert stage.applied.count("start:VirtualMachine/sql@paris-1") == 1
        assert stage.applied.count("start:VirtualMachine/mail@paris-1") == 3
        assert list(result.failed) == ["start:VirtualMachine/sql@paris-1"]
        assert status_of_run(result.plan, failed=True) is ExitStatus.FAILED
        await stage.close()

    stage = Stage(lab())
    run_virtual(play())


def test_what_a_person_asked_for_and_did_not_get_has_failed_although_nothing_is_due() -> None:
    async def full(action: Action) -> None:
        raise Unavailable("no room is left on its disk: free some there")

    async def play() -> None:
        desired = load_folder(SPECS)
        stage, store = Stage(desired), Store.open(":memory:")
        once = Once(stage, store, epoch_clock)
        await once.plan(desired)
        await once.run()    # makes the first copies
        stage.meddle = full
        store.request(ReplicaRequest("sql", RequestKind.COPY, "ann", epoch_clock()))
        once = Once(stage, store, epoch_clock)
        await once.plan(desired)
        result = await once.run(granted_by="ann", about="Replica/sql")
        assert [action.verb for action, _ in result.failed.values()] == ["replicate"]
        assert "free some there" in next(iter(result.failed.values()))[1]
        await stage.close()

    run_virtual(play())


def test_a_lost_reply_is_looked_into_and_counts_as_done_when_it_was() -> None:
    async def play() -> None:
        stage = Stage(lab())
        stage.estate.command("kill paris-1 sql")
        stage.estate.command("lose-reply next")
        result = await applied(stage, Store.open(":memory:"))
        assert stage.applied == ["start:VirtualMachine/sql@paris-1"]
        assert result.failed == {}
        assert result.plan.steps == ()
        await stage.close()

    run_virtual(play())


def test_planning_writes_and_does_nothing() -> None:
    async def play() -> None:
        stage, store = Stage(lab(), converged=False), Store.open(":memory:")
        plan = await Once(stage, store, epoch_clock).plan(lab())
        assert status_of_plan(plan) is ExitStatus.PENDING
        assert stage.applied == []
        assert store.events(10) == ()
        assert store.seen() == {}
        await stage.close()

    run_virtual(play())


def test_nothing_beyond_the_autonomy_is_done_without_a_person_s_word() -> None:
    async def play() -> None:
        for granted_by, count in ((None, 0), ("ann", 1)):
            stage = Stage(lab())
            stage.estate.command("kill paris-1 sql")
            once = Once(stage, Store.open(":memory:"), epoch_clock)
            await once.plan(reporting(lab()))
            result = await once.run(granted_by=granted_by)
            assert len(result.done) == count
            wanted = ExitStatus.DONE if count else ExitStatus.REFUSED
            assert status_of_run(result.plan, failed=False) is wanted
            await stage.close()

    run_virtual(play())


def test_only_what_was_shown_is_done_and_what_came_up_meanwhile_is_left() -> None:
    async def play() -> None:
        stage = Stage(lab())
        stage.estate.command("kill paris-1 sql")
        once = Once(stage, Store.open(":memory:"), epoch_clock)
        plan = await once.plan(lab())
        stage.estate.command("kill paris-1 mail")
        result = await once.run(granted_by="ann", shown=plan, answered=True)
        assert stage.applied == ["start:VirtualMachine/sql@paris-1"]
        assert [step.action.target for step in result.plan.steps] == ["VirtualMachine/mail"]
        assert came_up(result, plan)
        again = await once.run(granted_by="ann", shown=result.plan, answered=True)
        assert again.plan.steps == ()
        assert not came_up(again, result.plan)
        await stage.close()

    run_virtual(play())


def test_a_yes_is_no_yes_to_the_same_step_with_another_content_or_to_what_was_refused() -> None:
    async def play() -> None:
        for change in ("content", "refused"):
            stage = Stage(lab())
            stage.estate.command("kill paris-1 sql")
            once = Once(stage, Store.open(":memory:"), epoch_clock)
            plan = await once.plan(lab())
            (step,) = plan.steps
            assert isinstance(step.action, StartDomain)
            shown = replace(plan, steps=(
                replace(step, action=replace(step.action, domain="sql-2")) if change == "content"
                else replace(step, ruling=Ruling(Verdict.REFUSED, "storm", "x")),))
            result = await once.run(granted_by="ann", shown=shown, answered=True)
            assert stage.applied == []
            assert len(result.plan.steps) == 1
            await stage.close()

    run_virtual(play())


def test_a_saved_plan_is_stale_once_a_fact_has_moved() -> None:
    async def play() -> None:
        stage = Stage(lab())
        stage.estate.command("kill paris-1 sql")
        once = Once(stage, Store.open(":memory:"), epoch_clock)
        plan = await once.plan(lab())
        saved = plan_from_json(plan_to_json(plan, once.observed))
        assert once.stale(saved) is None
        stage.estate.command("start paris-1 sql")
        later = Once(stage, Store.open(":memory:"), epoch_clock)
        await later.plan(lab())
        assert "paris-1" in str(later.stale(saved))
        await stage.close()

    run_virtual(play())


@pytest.mark.parametrize("word", ["site=paris", "site=paris:up", "rack=a:down", "host=nope:down"])
def test_what_is_assumed_must_be_understood_and_declared(word: str) -> None:
    with pytest.raises(SpecError, match="--assume"):
        assumptions([word], lab())


def test_what_is_assumed_becomes_names_of_scopes() -> None:
    assert assumptions(["site=paris:down", "host=milan-1:down"], lab()) == {
        "Site/paris", "Host/milan-1"}


@pytest.mark.parametrize(("power", "copies"), [("on", 1), ("off", 2)])
def test_a_run_remembers_the_hosts_that_left_the_specs(power: str, copies: int) -> None:
    """Also over a restart: a host that answered may run its VM, a silent one is said to be gone."""
    async def play() -> None:
        stage, store = Stage(lab()), Store.open(":memory:")
        await applied(stage, store)
        if power == "off":
            stage.estate.command("power milan-2 off")
            await applied(stage, store)
        fewer = replace(lab(), hosts={name: one for name, one in lab().hosts.items()
                                      if name != "milan-2"})
        once = Once(stage, store, epoch_clock)
        plan = await once.plan(fewer)
        assert ("milan-2" in once.observed.nodes) is (power == "on")
        made = any(step.action.target == "VirtualMachine/proxy" for step in plan.steps)
        assert made is (power == "off")
        await once.run(granted_by="ann", answered=True)
        assert ("milan-2" in store.seen()) is (power == "on")
        held = [node for node in stage.estate.world.nodes.values() if "proxy" in node.domains]
        assert len(held) == copies
        await stage.close()

    run_virtual(play())


@pytest.mark.parametrize("error", [
    ValueError("bad digit"), KeyError("uuid"), IndexError("list index out of range"),
    TypeError("None has no length"), OSError("pipe closed"), ParseError("no element found")])
def test_an_answer_that_is_not_understood_leaves_the_outcome_unknown(error: Exception) -> None:
    async def meddle(action: Action) -> None:
        await stage.estate.apply(action)
        raise error

    async def play() -> None:
        stage.meddle = meddle
        stage.estate.command("kill paris-1 sql")
        store = Store.open(":memory:")
        result = await applied(stage, store)
        assert stage.applied == ["start:VirtualMachine/sql@paris-1"]
        assert result.plan.steps == ()
        assert store.open_intents() == ()
        outcome = next(row for row in store.events(10) if row.kind == "outcome")
        assert outcome.outcome == "unknown"
        assert "start on paris-1 may have happened" in outcome.sentence
        assert type(error).__name__ in outcome.sentence
        await stage.close()

    stage = Stage(lab())
    run_virtual(play())


def test_after_a_long_step_a_run_looks_at_every_host_again() -> None:
    async def meddle(action: Action) -> None:
        await asyncio.sleep(100)

    async def play() -> None:
        stage.meddle = meddle
        for vm in ("sql", "mail"):
            stage.estate.command(f"kill paris-1 {vm}")
        limits = lab().estate.spec.limits.model_copy(update={"per_host": 1})
        once = Once(stage, Store.open(":memory:"), epoch_clock)
        await once.plan(with_estate(lab(), limits=limits))
        result = await once.run()
        assert len(result.done) == 2
        assert result.plan.steps == ()
        await stage.close()

    stage = Stage(lab())
    run_virtual(play())
