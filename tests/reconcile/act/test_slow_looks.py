"""What is done while looks are slow: an act is not called as long as the look after it."""

import asyncio

from controller.model.facts import Fact, NodeFacts
from controller.providers.simulated.virtual_time import run_virtual
from controller.reconcile.report.event import EventKind
from controller.store.journal import Outcome
from tests.reconcile.stage import Stage, lab, playing

LOOK_S = 4.0
SQL = "VirtualMachine/sql"


class SlowLooks(Stage):
    """An estate whose hosts answer late once something was done."""

    async def observe(self, node: str) -> Fact[NodeFacts]:
        """Answer late."""
        if self.applied:
            await asyncio.sleep(LOOK_S)
        return await super().observe(node)


def test_an_outcome_bears_the_time_at_which_the_act_ended() -> None:
    async def play() -> None:
        stage = SlowLooks(lab())
        async with playing(lab(), stage=stage) as show:
            await show.settled()
            show.strike("kill paris-1 sql")
            await show.until(lambda: bool(show.told(EventKind.OUTCOME, SQL)))
            told_at = show.stage.clock()
            begun, ended = [row for row in show.store.events(20) if row.target == SQL
                            and row.kind in {"intent", "outcome"}][-2:]
            assert ended.outcome == Outcome.DONE
            assert ended.at - begun.at < LOOK_S < told_at - begun.at
            assert show.told(EventKind.OUTCOME, SQL)[-1].at == ended.at
        await stage.close()

    run_virtual(play())
