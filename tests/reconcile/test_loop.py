"""The loop on virtual time: it converges, heals, waits, survives, and says what it does."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from controller.errors import Refused, Unavailable
from controller.model.desired import Desired
from controller.model.document import Rung
from controller.model.estate import WindowSpec
from controller.plan.actions.action import Action
from controller.plan.gates.approval import content
from controller.plan.survey.context import Approval, Suspension
from controller.providers.simulated.virtual_time import epoch_clock, run_virtual
from controller.reconcile.decide.context import window_state
from controller.reconcile.report.event import EventKind
from controller.store.journal import Outcome
from controller.store.store import Store
from tests.reconcile.stage import (
    Show,
    Stage,
    lab,
    playing,
    reporting,
    with_estate,
    with_machine,
)

SQL = "VirtualMachine/sql"
START_SQL = "start:VirtualMachine/sql@paris-1"


def test_a_bare_estate_becomes_as_declared_and_stays_so() -> None:
    async def play() -> None:
        async with playing(lab(), converged=False) as show:
            await show.settled()
            world = show.stage.estate.world
            assert {vm for node in world.nodes.values() for vm in node.domains} == set(
                lab().virtual_machines)
            await asyncio.sleep(30)
            show.stage.applied.clear()
            await asyncio.sleep(300)
            assert show.stage.applied == []
            applied = show.store.applied()
            assert applied is not None
            assert applied.revision == lab().revision

    run_virtual(play())


def test_a_killed_vm_is_started_again_within_a_third_of_a_second() -> None:
    async def play() -> None:
        async with playing(lab()) as show:
            await show.settled()
            await asyncio.sleep(33)
            struck_at = show.strike("kill paris-1 sql")
            await show.until(lambda: bool(show.told(EventKind.INTENT)))
            assert show.told(EventKind.INTENT)[0].at - struck_at <= 0.3
            await show.until(lambda: bool(show.told(EventKind.OUTCOME)))
            rows = show.store.events(10, target=SQL)
            assert [(row.kind, row.outcome) for row in rows] == [("intent", ""),
                                                                ("outcome", "done")]

    run_virtual(play())


@pytest.mark.parametrize("fault", [
    "shutoff paris-1 sql", "undefine paris-1 sql", "tag paris-1 sql 999",
    "trunk paris-sw h1 drop 200", "trunk paris-sw h1 add 77", "memory paris-1 sql 64MiB",
    "autostart paris-1 sql", "pause paris-1 sql"])
def test_what_a_hand_changes_is_put_back(fault: str) -> None:
    async def play() -> None:
        async with playing(with_estate(lab(), autonomy=Rung.PRUNE)) as show:
            await show.settled()
            show.strike(fault)
            await show.until(lambda: bool(show.told(EventKind.OUTCOME)))
            await show.settled()
            await asyncio.sleep(60)
            assert show.loop.plan is not None
            assert show.loop.plan.steps == ()

    run_virtual(play())


def test_with_autonomy_report_nothing_is_touched_and_everything_is_shown() -> None:
    async def play() -> None:
        async with playing(reporting(lab())) as show:
            await show.settled()
            show.strike("kill paris-1 sql")
            show.stage.estate.command("trunk paris-sw h1 drop 200")
            await asyncio.sleep(200)
            assert show.stage.applied == []
            assert {event.target for event in show.told(EventKind.PLAN)} == {SQL,
                                                                          "Switch/paris-sw"}
            assert "autonomy" in {event.rule for event in show.told(EventKind.REFUSED, SQL)}

    run_virtual(play())


def test_an_approval_lets_one_action_through_and_no_other() -> None:
    async def play() -> None:
        desired = reporting(lab())
        async with playing(desired) as show:
            await show.settled()
            show.strike("kill paris-1 sql")
            show.stage.estate.command("kill paris-1 mail")
            await asyncio.sleep(60)
            approve(show, desired)
            await show.until(lambda: show.state_of("paris-1", "sql") == "running")
            await asyncio.sleep(60)
            assert show.stage.applied == [START_SQL]

    run_virtual(play())


def test_an_approval_lets_its_action_through_once() -> None:
    async def play() -> None:
        desired = reporting(lab())
        async with playing(desired) as show:
            await show.settled()
            for _ in range(2):
                show.strike("kill paris-1 sql")
                await asyncio.sleep(60)
                assert show.stage.applied == []
                approve(show, desired)
                await show.until(lambda: show.state_of("paris-1", "sql") == "running")
                assert show.stage.applied == [START_SQL]

    run_virtual(play())


def approve(show: Show, desired: Desired) -> None:
    """Say yes to the start that the loop plans, as another process would."""
    assert show.loop.plan is not None
    action = next(step.action for step in show.loop.plan.steps if step.action.id == START_SQL)
    show.store.approve(Approval(START_SQL, desired.revision, "ann", epoch_clock() + 600,
                                content(action)))
    show.loop._context.read()
    show.loop._free_all()


def test_another_process_s_pause_holds_within_a_second_and_its_end_wakes(tmp_path: Path) -> None:
    async def play() -> None:
        store, other = Store.open(tmp_path / "state.db"), Store.open(tmp_path / "state.db")
        async with playing(lab(), store=store) as show:
            await show.settled()
            other.suspend(Suspension("Host/paris-1", "ann", "new memory", epoch_clock() + 100.0))
            await asyncio.sleep(1.0)
            struck_at = show.strike("kill paris-1 sql")
            await asyncio.sleep(90)
            assert show.stage.applied == []
            await show.until(lambda: show.stage.applied == [START_SQL])
            assert 98 < epoch_clock() - struck_at < 102
            await show.settled()
            show.strike("kill paris-1 sql")
            other.suspend(Suspension("Host/paris-1", "ann", "again", epoch_clock() + 1000.0))
            other.resume("Host/paris-1")
            await show.until(lambda: show.stage.applied == [START_SQL], 5.0)
        store.close()
        other.close()

    run_virtual(play())


def test_a_host_that_hangs_is_unknown_and_nothing_is_done_to_its_vms() -> None:
    async def play() -> None:
        async with playing(lab()) as show:
            await show.settled()
            show.strike("hang paris-1")
            await asyncio.sleep(200)
            assert show.stage.applied == []
            assert [event.node for event in show.told(EventKind.OBSERVED)] == ["paris-1"]
            assert show.loop.plan is not None
            assert any(remark.unknown for remark in show.loop.plan.remarks)
            show.stage.estate.command("wake paris-1")
            await show.until(lambda: not show.loop.plan or not show.loop.plan.remarks)
            assert show.stage.applied == []

    run_virtual(play())


def test_a_new_commit_is_taken_up_and_an_action_of_the_old_one_is_not_disturbed() -> None:
    async def play() -> None:
        async with playing(lab()) as show:
            await show.settled()
            show.strike("kill paris-1 sql")
            await show.until(lambda: bool(show.told(EventKind.INTENT, SQL)))
            memory = lab().virtual_machines["web"].spec.memory_bytes * 2
            newer = with_machine(lab(), "web", "r2", memory_bytes=memory)
            await show.loop.set_desired(newer)
            await show.settled()
            done = {event.target for event in show.told(EventKind.OUTCOME)
                    if event.outcome == Outcome.DONE}
            assert done == {SQL, "VirtualMachine/web"}
            causes = {row.target: row.cause for row in show.store.events(20)
                      if row.kind == "intent"}
            assert causes == {SQL: "drift", "VirtualMachine/web": "new commit"}

    run_virtual(play())


def test_a_lost_reply_is_looked_into_and_the_action_is_not_repeated() -> None:
    async def play() -> None:
        async with playing(lab()) as show:
            await show.settled()
            show.strike("lose-reply next")
            show.strike("kill paris-1 sql")
            await show.until(lambda: bool(show.told(EventKind.OUTCOME)))
            assert show.told(EventKind.OUTCOME)[0].outcome == Outcome.UNKNOWN
            await asyncio.sleep(100)
            assert show.stage.applied == [START_SQL]

    run_virtual(play())


def test_a_refused_action_is_left_alone_until_something_changes() -> None:
    async def refuse(action: Action) -> None:
        raise Refused(f"no such image for {action.target}: bring it")

    async def play() -> None:
        async with playing(lab()) as show:
            await show.settled()
            show.stage.meddle = refuse
            show.strike("kill paris-1 sql")
            await asyncio.sleep(1000)
            assert show.stage.applied == [START_SQL]
            stalled = [one for one in show.store.conditions()
                       if one.target == SQL and one.type == "Stalled"]
            assert [(one.status, one.reason) for one in stalled] == [("true", "ActionRefused")]
            show.stage.meddle = None
            show.stage.estate.command("memory paris-1 sql 64MiB")
            await show.settled()

    run_virtual(play())


def test_a_transient_failure_is_tried_again_with_longer_and_longer_pauses() -> None:
    begun: list[float] = []

    async def fail(_: Action) -> None:
        begun.append(epoch_clock())
        raise Unavailable("no route to host; trying again")

    async def play() -> None:
        async with playing(lab()) as show:
            await show.settled()
            show.stage.meddle = fail
            show.strike("kill paris-1 sql")
            await asyncio.sleep(200)
            pauses = [later - earlier for earlier, later in pairwise(begun)]
            assert len(begun) == 8
            assert all(later > earlier for earlier, later in pairwise(pauses))

    run_virtual(play())


def test_nothing_is_computed_or_written_while_nothing_changes(
        monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        async with playing(lab()) as show:
            await show.settled()
            await asyncio.sleep(30)
            plans: list[object] = []
            writes: list[object] = []
            monkeypatch.setattr(show.loop._workers, "enqueue", plans.append)
            monkeypatch.setattr(show.store, "save_seen", lambda *words: writes.append(words))
            await asyncio.sleep(600)
            assert len(plans) <= 11
            assert writes == []

    run_virtual(play())


def test_the_end_of_a_window_wakes_what_it_held_back() -> None:
    async def play() -> None:
        at = epoch_clock()
        window = WindowSpec.model_validate({
            "name": "quiet", "effect": "deny", "days": ["mon", "tue", "wed", "thu", "fri", "sat",
                                                        "sun"],
            "start": "14:00", "duration": "30m", "above": "start"})
        ends_at = window_state(window, at).changes_at
        assert ends_at is not None
        async with playing(with_estate(lab(), windows=(window,))) as show:
            await show.settled()
            show.strike("kill paris-1 sql")
            await asyncio.sleep(120)
            assert show.stage.applied == []
            await show.until(lambda: bool(show.stage.applied), 3600.0)
            assert 0 <= epoch_clock() - ends_at < 2.0

    run_virtual(play())


def test_a_flapping_vm_is_left_alone_and_healed_again_after_its_quarantine() -> None:
    async def play() -> None:
        async with playing(lab()) as show:
            await show.settled()
            for _ in range(8):
                show.stage.estate.command("kill paris-1 sql")
                await asyncio.sleep(40)
            assert show.stage.applied.count(START_SQL) == 5
            assert "quarantine" in {event.rule for event in show.told(EventKind.REFUSED, SQL)}
            await show.until(lambda: show.stage.applied.count(START_SQL) == 6, 3600.0)

    run_virtual(play())


def test_before_a_vm_is_made_every_host_is_looked_at_anew() -> None:
    async def play() -> None:
        async with playing(lab()) as show:
            await show.settled()
            await asyncio.sleep(33)
            show.strike("undefine paris-1 sql")
            show.stage.estate.command("shutoff paris-1 sql")
            await show.until(lambda: any(one.startswith("define") for one in show.stage.applied))
            last_at = dict(show.stage.looks)
            assert all(epoch_clock() - last_at[host] < 1.5 for host in lab().hosts)

    run_virtual(play())


def test_a_node_that_leaves_the_specs_is_no_longer_looked_at() -> None:
    async def play() -> None:
        async with playing(lab()) as show:
            await show.settled()
            fewer = replace(lab(), revision="r2", switches={"paris-sw": lab().switches["paris-sw"]})
            await show.loop.set_desired(fewer)
            await asyncio.sleep(1.0)
            show.stage.looks.clear()
            await asyncio.sleep(60)
            assert {node for node, _ in show.stage.looks} >= {"paris-sw", "paris-1"}
            assert "milan-sw" not in dict(show.stage.looks)

    run_virtual(play())


def test_a_silent_node_delays_the_first_decision_only_for_a_while() -> None:
    async def play() -> None:
        stage = Stage(lab())
        stage.estate.command("hang milan-2")
        stage.estate.command("trunk paris-sw h1 drop 200")
        begun_at = epoch_clock()
        async with playing(lab(), stage=stage) as show:
            await show.until(lambda: bool(stage.applied), 60.0)
            assert epoch_clock() - begun_at < 12.0

    run_virtual(play())


def test_the_granted_rung_is_the_limit() -> None:
    async def play() -> None:
        async with playing(with_estate(lab(), autonomy=Rung.NETWORK)) as show:
            await show.settled()
            show.strike("kill paris-1 sql")
            show.stage.estate.command("trunk paris-sw h1 drop 200")
            await asyncio.sleep(100)
            assert {one.partition(":")[0] for one in show.stage.applied} == {"widen-trunk"}

    run_virtual(play())


def test_polls_that_are_rarer_than_facts_may_be_old_hold_up_no_start() -> None:
    async def play() -> None:
        async with playing(with_estate(lab(), poll_s=300.0)) as show:
            await show.settled()
            await asyncio.sleep(200)
            struck_at = show.strike("kill paris-1 sql")
            await show.until(lambda: show.state_of("paris-1", "sql") == "running")
            assert epoch_clock() - struck_at < 2.0

    run_virtual(play())
