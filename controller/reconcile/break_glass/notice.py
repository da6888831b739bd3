"""Before a break-glass is over, what its end undoes is found out, and said.

Two plans are made on the facts of the last look, one of the specs in force and one of git's alone:
what only the second one has is what the end brings. Nobody is looked at for that, and nothing is
held back by it: where the plan cannot be made, that is said instead.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from controller.errors import HotsiteError
from controller.model.desired import Desired
from controller.model.units import render_duration, render_instant
from controller.plan.break_glass.break_glass import BreakGlass
from controller.plan.output.review import Review
from controller.providers.base import Provider
from controller.reconcile.break_glass.source import GlassSource, undoing
from controller.reconcile.once import Once
from controller.reconcile.review import Change, last_look_at, review_with
from controller.store.store import Store

LOOK_S: Final = 5.0


class GlassNotice:
    """Says, some time before the end, what the end undoes; beside the loop, for ever."""

    def __init__(self, source: GlassSource, provider: Provider, store: Store,
                 clock: Callable[[], float], in_force: Callable[[], Desired | None]) -> None:
        self._source = source
        self._provider = provider
        self._store = store
        self._clock = clock
        self._in_force = in_force

    async def run(self) -> None:
        """Say it once for each end."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Say what the end undoes, if it is time for that and not yet said.

        Errors: JournalUnavailable.
        """
        glass, desired, specs = self._store.break_glass(), self._in_force(), self._source.specs
        if (glass is None or glass.undoes is not None or desired is None or specs is None
                or self._clock() < glass.notice_at or not glass.is_in(desired.revision)):
            return
        found = await self._undoes(glass, desired, specs)
        if self._store.break_glass() != glass:      # ended or changed meanwhile: the next look
            return
        self._store.renew_break_glass(replace(glass, undoes=found))
        self._source.tell(
            f"the break-glass of {glass.by} is over at {render_instant(glass.until_at)}, in"
            f" {render_duration(max(1.0, glass.until_at - self._clock()))}: git is in force again"
            f" then{undoing(found)}. To keep it, commit it: `hotsite break-glass show --patch`")

    async def _undoes(self, glass: BreakGlass, desired: Desired,
                      specs: Desired) -> tuple[str, ...]:
        """Return what going back to git's specs brings, a sentence each."""
        try:
            once = Once(self._provider, self._store, self._clock,
                        as_of=last_look_at(self._store))
            return sentences(await review_with(once, Change(desired, specs), live=False))
        except HotsiteError as error:
            return (f"nobody can say what of {', '.join(glass.targets)} ({error})",)


def sentences(found: Review) -> tuple[str, ...]:
    """Return the steps that a change of the specs brings, a sentence each."""
    return tuple(f"{step.action.verb} {step.action.target}: {step.action.reason}"
                 for step in found.brought)
