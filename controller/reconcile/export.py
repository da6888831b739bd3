"""Look at every host once, and have one restore point written out as files."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

from controller.model.desired import Desired
from controller.model.facts import Fact, NodeFacts, Observed
from controller.plan.actions.replica import ExportPoint
from controller.plan.replication.export import plan_export
from controller.providers.base import Provider
from controller.reconcile.act.applier import Applier, Attempt
from controller.reconcile.observe.observers import observe
from controller.reconcile.report.event import Event
from controller.store.store import Store


class Export:
    """One export over a provider; the intent and what came of it stand in the journal."""

    def __init__(self, provider: Provider, store: Store, clock: Callable[[], float]) -> None:
        self._provider = provider
        self._clock = clock
        self._applier = Applier(provider, store, clock, _look_at_nothing, _distrust_nothing,
                                _tell_nobody)

    async def look(self, desired: Desired) -> Observed:
        """Return what every host says now."""
        await self._provider.declare(desired)
        hosts = sorted(desired.hosts)
        facts: list[Fact[NodeFacts]] = await asyncio.gather(
            *(observe(self._provider, host, self._clock) for host in hosts))
        return Observed(dict(zip(hosts, facts, strict=True)))

    async def run(self, desired: Desired, machine: str, folder: str, sequence: int | None,
                  by: str, *, damaged: bool) -> Attempt:
        """Write the point.

        Errors: Refused when there is none to write; JournalUnavailable: nothing was begun.
        """
        observed = await self.look(desired)
        declared = desired.virtual_machines.get(machine)
        action = plan_export(observed, machine, folder, sequence, damaged=damaged,
                             formers=() if declared is None else declared.spec.formerly)
        return await self._applier.carry_out(asked_by(action, by), desired.revision)


def asked_by(action: ExportPoint, by: str) -> ExportPoint:
    """Return the action with the person's name in its reason."""
    return replace(action, reason=action.reason.replace("somebody", by, 1))


async def _look_at_nothing(nodes: Iterable[str]) -> None:
    """Look at nothing: an export changes no fact."""


def _distrust_nothing(node: str) -> None:
    """Go on trusting what was seen."""


def _tell_nobody(event: Event) -> None:
    """Tell nobody: the command prints the outcome itself."""
