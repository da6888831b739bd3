"""Look at every host once, and have restore points written as files, drilled, or let go."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Final

from controller.model.desired import Desired
from controller.model.facts import Fact, NodeFacts, Observed
from controller.model.replica import DrillFacts, DrillOutcome
from controller.plan.actions.action import Action
from controller.plan.actions.replica import DrilledMachine, DrillReplica
from controller.plan.drill.by_hand import plan_drills
from controller.plan.promotion.point import Asked
from controller.plan.replication.export import plan_export, replicas_of
from controller.plan.replication.release import plan_release
from controller.providers.base import Provider
from controller.reconcile.act.applier import Applier, Attempt
from controller.reconcile.decide.attempts import Attempts
from controller.reconcile.decide.context import ContextBuilder
from controller.reconcile.decide.planner import Planner
from controller.reconcile.lease import Candidate, Mode
from controller.reconcile.observe.observers import Observers, observe
from controller.reconcile.observe.view import View
from controller.store.journal import Outcome
from controller.store.lease import Term
from controller.store.store import Store

ALIVE_S: Final = 30.0
"""A loop whose last heartbeat is older than this does not run."""


def former_names(desired: Desired, machine: str) -> tuple[str, ...]:
    """Return the names that a VM had, which its replica may still have."""
    declared = desired.virtual_machines.get(machine)
    return () if declared is None else declared.spec.formerly


class Export:
    """One change to one restore point, by hand; its intent and outcome are in the journal."""

    def __init__(self, provider: Provider, store: Store, clock: Callable[[], float],
                 candidate: Candidate) -> None:
        self._store = store
        self._candidate = candidate
        self._provider = provider
        self._clock = clock
        view, attempts = View(clock), Attempts()    # nothing is declared: an export changes no fact
        planner = Planner(view, Observers(provider, view, clock, Random(0)),
                          ContextBuilder(store, clock), attempts, clock)
        self._applier = Applier(provider, store, view, planner, attempts, clock,
                                lambda _: None)     # the command prints the outcome itself
        self._applier.term = candidate.term

    async def look(self, desired: Desired) -> Observed:
        """Return the facts of every host."""
        await self._provider.declare(desired)
        self._candidate.declare(desired)
        hosts = sorted(desired.hosts)
        facts: list[Fact[NodeFacts]] = await asyncio.gather(
            *(observe(self._provider, host, self._clock) for host in hosts))
        return Observed(dict(zip(hosts, facts, strict=True)))

    async def run(self, desired: Desired, machine: str, folder: str, sequence: int | None,
                  by: str, *, damaged: bool) -> Attempt:
        """Write the point.

        Errors: Refused when there is no such point, or another controller conducts;
        JournalUnavailable: nothing was begun.
        """
        observed = await self.look(desired)
        return await self._carry_out(plan_export(
            observed, machine, folder, sequence, damaged=damaged,
            formers=former_names(desired, machine)), desired, by)

    async def release(self, desired: Desired, machine: str, sequence: int | None,
                      by: str) -> Attempt:
        """Let go the tail that a replica keeps.

        Errors: as `run`.
        """
        observed = await self.look(desired)
        return await self._carry_out(plan_release(
            observed, machine, sequence, formers=former_names(desired, machine)), desired, by)

    async def drill(self, desired: Desired, target: str, asked: Asked,
                    by: str) -> tuple[tuple[str, bool], ...]:
        """Hold the drills of a target; return a sentence for each, and whether it is proven.

        The drills of one host are held one after another, those of several hosts at once.

        Errors: Refused when none can be held, or another controller conducts; JournalUnavailable.
        """
        observed = await self.look(desired)
        drills = plan_drills(desired, observed, target, asked, by=by)
        hosts: dict[str, list[DrillReplica]] = {}
        for action in drills.actions:
            hosts.setdefault(action.node, []).append(action)
        async with self._candidate.conducting(self._term_of_the_loop()):
            told = await asyncio.gather(*(self._drill(actions, observed, desired.revision)
                                          for actions in hosts.values()))
        return (*(one for here in told for one in here),
                *((sentence, False) for sentence in drills.refusals))

    async def _drill(self, actions: list[DrillReplica], before: Observed,
                     revision: str) -> list[tuple[str, bool]]:
        """Hold the drills of one host, and look what it has noted of each since then."""
        found = []
        for action in actions:
            attempt = await self._applier.carry_out(action, revision)
            seen = Observed({action.node: await observe(self._provider, action.node, self._clock)})
            proven = attempt.outcome is Outcome.DONE and all(
                _is_proven(_last(seen, one), _last(before, one), one.sequence)
                for one in action.machines)
            found.append((attempt.sentence, proven))
        return found

    async def _carry_out(self, action: Action, desired: Desired, by: str) -> Attempt:
        reason = action.reason.replace("somebody", by, 1)
        async with self._candidate.conducting(self._term_of_the_loop()):
            return await self._applier.carry_out(replace(action, reason=reason), desired.revision)

    def _term_of_the_loop(self) -> Term | None:
        """Return the term of a loop that runs on this state folder and conducts."""
        status = self._store.status() or {}
        lease = status.get("lease") or {}
        alive = not status.get("stopped") and self._clock() - status.get("at", 0.0) < ALIVE_S
        if not alive or lease.get("mode") != Mode.CONDUCTING:
            return None
        return Term(lease["term"], lease["holder"])


def _last(seen: Observed, one: DrilledMachine) -> DrillFacts | None:
    """Return the last drill of a VM that says anything of its point."""
    return next((drill for _, replica in replicas_of(seen, (one.uuid,))
                 for drill in replica.drills[-1:]), None)


def _is_proven(last: DrillFacts | None, before: DrillFacts | None, sequence: int) -> bool:
    """Return whether a drill has proven this point, and is not the one that was noted before."""
    return (last is not None and last != before and last.sequence == sequence
            and last.outcome is DrillOutcome.PROVEN)
