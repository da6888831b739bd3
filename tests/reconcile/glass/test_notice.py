"""What is said before a break-glass is over, and that nothing else comes of it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from controller.model.desired import Desired
from controller.plan.glass.break_glass import BreakGlass
from controller.providers.simulated.estate import SimulatedEstate
from controller.reconcile.glass.notice import GlassNotice
from controller.reconcile.glass.proposal import end
from tests.reconcile.glass.test_glass_source import MORE
from tests.reconcile.glass.tower import HOUR_S, Tower, tower
from tests.source.git.repository import repository

__all__ = ["repository", "tower"]


class Slow(GlassNotice):
    """Something happens while it finds out what the end undoes."""

    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    async def _undoes(self, glass: BreakGlass, desired: Desired,
                      specs: Desired) -> tuple[str, ...]:
        self.meanwhile()
        return ("restart VirtualMachine/sql",)


def slow(tower: Tower) -> Slow:
    """Return what says it of a break-glass that is over in a minute."""
    tower.breaks(MORE, HOUR_S)
    desired = tower.load()
    tower.passes(HOUR_S - 60)
    return Slow(tower.source, SimulatedEstate(desired), tower.store, lambda: tower.wall,
                lambda: desired)


def test_it_is_said_once_and_kept(tower: Tower) -> None:
    notice = slow(tower)
    asyncio.run(notice.look())
    asyncio.run(notice.look())
    held = tower.store.break_glass()
    assert held is not None
    assert held.undoes == ("restart VirtualMachine/sql",)
    assert len([one for one in tower.said if "is over at" in one]) == 1


def test_what_was_changed_or_ended_meanwhile_stays_so(tower: Tower) -> None:
    notice = slow(tower)
    held = tower.store.break_glass()
    assert held is not None
    less = replace(held, targets=())
    notice.meanwhile = lambda: tower.store.renew_break_glass(less)
    asyncio.run(notice.look())
    assert tower.store.break_glass() == less
    notice.meanwhile = lambda: end(tower.store, "bob", tower.wall)
    asyncio.run(notice.look())
    assert tower.said == []
