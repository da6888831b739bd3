"""After a pause an object is observed anew before any action: a person worked on it."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from controller.model.document import Suspend
from controller.model.facts import Known
from controller.plan.survey.context import Suspension
from controller.providers.simulated.virtual_time import epoch_clock, run_virtual
from controller.store.store import Store
from tests.reconcile.stage import Show, lab, playing, with_machine

VM, HOST = "sql", "paris-1"
TARGET = f"VirtualMachine/{VM}"
PAUSE_S = 20.0


async def lifted_by_word(show: Show) -> Callable[[], Coroutine[Any, Any, None]]:
    """Pause it for long, and lift the pause when asked to."""
    show.store.suspend(Suspension(TARGET, "ann", "her own work", epoch_clock() + 3600.0))
    show.loop._context.read()
    show.loop._free_all()

    async def lift() -> None:
        show.store.resume(TARGET)
        show.loop._context.read()
        show.loop._free_all()

    return lift


async def lifted_by_time(show: Show) -> Callable[[], Coroutine[Any, Any, None]]:
    """Pause it for a while, and wait for the end of it when asked to."""
    until_at = epoch_clock() + PAUSE_S
    show.store.suspend(Suspension(TARGET, "ann", "her own work", until_at))
    show.loop._context.read()
    show.loop._free_all()
    await show.until(lambda: epoch_clock() > until_at - 0.2)

    async def lift() -> None:
        await show.until(lambda: epoch_clock() > until_at)

    return lift


async def lifted_by_commit(show: Show) -> Callable[[], Coroutine[Any, Any, None]]:
    """Pause it in the specs, and take that out when asked to."""
    pause = Suspend(by="ann", why="her own work", until="2099-01-01T00:00:00Z")
    await show.loop.set_desired(with_machine(lab(), VM, "r2", suspend=pause))

    async def lift() -> None:
        await show.loop.set_desired(with_machine(lab(), VM, "r3"))

    return lift


def sees_it(show: Show) -> bool:
    """Whether the loop takes the VM for defined on its host."""
    fact = show.loop.observed.nodes[HOST]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.domains, Known)
    return VM in fact.value.domains.value


@pytest.mark.parametrize("pause", [lifted_by_word, lifted_by_time, lifted_by_commit])
def test_what_was_seen_before_a_pause_ended_is_not_acted_on(pause: Any) -> None:
    async def play() -> None:
        async with playing(lab(), store=Store.open(":memory:")) as show:
            await show.settled()
            lift = await pause(show)
            world = show.stage.estate.world
            node = world.node(HOST)
            config = node.domains.pop(VM).config
            assert config is not None
            disk = config.disks[0].source
            world.notify(HOST)
            await show.until(lambda: not sees_it(show))
            world.store_of(node, disk).pop(disk)    # nobody hears of that
            show.stage.applied.clear()
            looks = len(show.stage.looks)
            await lift()
            await show.until(lambda: len(show.stage.looks) > looks + 12)
            assert [one for one in show.stage.applied[:1] if one.startswith("define")] == []

    run_virtual(play())
