"""What is said before a break-glass is over, and that nothing else comes of it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from controller.model.desired import Desired
from controller.plan.break_glass.break_glass import BreakGlass
from controller.providers.simulated.estate import SimulatedEstate
from controller.reconcile.break_glass.notice import GlassNotice
from controller.reconcile.break_glass.proposal import end
from tests.reconcile.break_glass.played_branch import HOUR_S, Branch, played
from tests.reconcile.break_glass.test_glass_source import MORE
from tests.source.git.repository import repository

__all__ = ["played", "repository"]


class Slow(GlassNotice):
    """Something happens while it finds out what the end undoes."""

    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    async def _undoes(self, glass: BreakGlass, desired: Desired,
                      specs: Desired) -> tuple[str, ...]:
        self.meanwhile()
        return ("restart VirtualMachine/sql",)


def slow(played: Branch) -> Slow:
    """Return what says it of a break-glass that is over in a minute."""
    played.breaks(MORE, HOUR_S)
    desired = played.load()
    played.passes(HOUR_S - 60)
    return Slow(played.source, SimulatedEstate(desired), played.store, lambda: played.wall,
                lambda: desired)


def test_it_is_said_once_and_kept(played: Branch) -> None:
    notice = slow(played)
    asyncio.run(notice.look())
    asyncio.run(notice.look())
    held = played.store.break_glass()
    assert held is not None
    assert held.undoes == ("restart VirtualMachine/sql",)
    assert len([one for one in played.said if "is over at" in one]) == 1


def test_what_was_changed_or_ended_meanwhile_stays_so(played: Branch) -> None:
    notice = slow(played)
    held = played.store.break_glass()
    assert held is not None
    less = replace(held, targets=())
    notice.meanwhile = lambda: played.store.renew_break_glass(less)
    asyncio.run(notice.look())
    assert played.store.break_glass() == less
    notice.meanwhile = lambda: end(played.store, "bob", played.wall)
    asyncio.run(notice.look())
    assert played.said == []
