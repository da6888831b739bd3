"""Looks faster at nodes while a failover waits for what they say.

While proofs ripen, every node that answers is looked at each second: ages of grants are believed
only as they are told. While a site or host is merely suspected, the witnesses are.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from controller.model.facts import Known
from controller.plan.steps.plan import Plan
from controller.reconcile.observe.observers import Observers
from controller.reconcile.observe.view import View

PACE_S: Final = 1.0
RIPENING: Final = frozenset({"revoking", "fencing", "promoting"})
SUSPECTING: Final = frozenset({"suspected", "link-suspected", "agreed"})


async def watch_failovers(plan: Callable[[], Plan | None], witnesses: Callable[[], Iterable[str]],
                          observers: Observers, view: View) -> None:
    """Look at what a failover waits for, for ever; where there is none, at nothing."""
    while True:
        await asyncio.sleep(PACE_S)
        now = plan()
        phases = {one.phase for one in now.failovers} if now is not None else set()
        nodes: Iterable[str] = ()
        if not RIPENING.isdisjoint(phases):
            nodes = view.nodes
        elif not SUSPECTING.isdisjoint(phases):
            nodes = witnesses()
        await observers.look(*(one for one in nodes if isinstance(view.fact(one), Known)))
