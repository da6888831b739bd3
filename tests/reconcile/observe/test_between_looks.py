"""A VM that moves between the polls of two hosts is seen on neither."""

import asyncio
from collections.abc import AsyncIterator

from controller.model.desired import Desired
from controller.model.facts import Fact, NodeFacts
from controller.providers.simulated.virtual_time import run_virtual
from tests.reconcile.stage import Stage, lab, playing


class Between(Stage):
    """Hosts that tell of nothing, and a person who moves a VM just between two looks."""

    def __init__(self, desired: Desired) -> None:
        super().__init__(desired)
        self.source = ""
        self._told = asyncio.Queue[str]()

    def told(self, node: str) -> None:
        """Let a host tell that something has happened."""
        self._told.put_nowait(node)

    async def watch(self) -> AsyncIterator[str]:
        """Tell of what the test says alone."""
        while True:
            yield await self._told.get()

    async def observe(self, node: str) -> Fact[NodeFacts]:
        """Move the VM once all other hosts were looked at, just before its own is."""
        if node == self.source:
            self.source = ""
            for other in {"paris-1", "paris-2", "milan-1", "milan-2"} - {node}:
                self._told.put_nowait(other)
            await asyncio.sleep(0.4)
            self.estate.command("rename-migrate web milan-1 web-by-hand")
        return await super().observe(node)


def test_what_was_moved_by_hand_under_another_name_is_not_defined_under_its_old_one() -> None:
    async def play() -> None:
        stage = Between(lab())
        async with playing(lab(), stage=stage) as show:
            await show.settled()
            stage.applied.clear()
            (source,) = stage.estate.world.copies("web")
            stage.source = source
            await asyncio.sleep(60)
            assert "web-by-hand" in stage.estate.world.node("milan-1").domains
            assert stage.applied == []
            assert "web" not in stage.estate.world.node(source).domains
        await stage.close()
    run_virtual(play())


class Quiet(Between):
    """Hosts that tell of nothing."""

    async def observe(self, node: str) -> Fact[NodeFacts]:
        """Answer."""
        return await Stage.observe(self, node)


def test_what_was_started_by_hand_on_another_host_is_not_started_a_second_time() -> None:
    async def play() -> None:
        stage = Quiet(lab())
        async with playing(lab(), stage=stage) as show:
            await show.settled()
            stage.applied.clear()
            (source,) = stage.estate.world.copies("web")
            stage.estate.command(f"kill {source} web")
            stage.estate.command("second-copy web milan-1")
            stage.told(source)
            await asyncio.sleep(60)
            assert len(stage.estate.world.copies("web")) == 1
            assert not [one for one in stage.applied if one.startswith("start:")]
        await stage.close()
    run_virtual(play())
