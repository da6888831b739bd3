"""A rehearsal: a script of faults strikes an estate in memory; how each was healed is recorded.

Rule 1: the loop is the one of `run`, and knows nothing of the script.
Rule 2: routine actions, such as the next restore point when it is due, heal nothing.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from controller.model.desired import Desired
from controller.model.facts import Known
from controller.plan.actions.action import Cause
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.virtual_time import epoch_clock
from controller.reconcile.loop import Loop
from controller.reconcile.report.event import Event, EventKind
from controller.store.store import Store

LIMIT_S: Final = 600.0
QUIET_S: Final = 1.0
"""All must be well for so long before an act counts as healed."""
BETWEEN_S: Final = 5.0
POLL_S: Final = 0.1
NOTICED: Final = frozenset({EventKind.OBSERVED, EventKind.PLAN, EventKind.CONDITION,
                            EventKind.REFUSED, EventKind.OUTCOME})
Edit = Callable[[Desired], Desired]


@dataclass(frozen=True, slots=True)
class Act:
    """One fault: commands for the simulated world or an edit of the specs, and its repair by hand.
    """

    title: str
    faults: tuple[str, ...] = ()
    """Commands for the simulated world, or `wait SECONDS`."""
    mends: tuple[str, ...] = ()
    """Commands that somebody gives `mend_after_s` later; without any, the loop heals alone."""
    mend_after_s: float = 45.0
    edit: Edit | None = None
    lesson: str = ""
    """What the loop must not do meanwhile; shown in the table."""
    about: str = ""
    """The target at which the loop has to notice it; empty: any."""


@dataclass(slots=True)
class Scene:
    """How one act went; instants are virtual seconds since the rehearsal began."""

    act: Act
    began_s: float
    noticed_s: float | None = None
    healed_s: float | None = None
    actions: list[str] = field(default_factory=list)
    held_back: list[str] = field(default_factory=list)

    @property
    def healed(self) -> bool:
        """Return whether all was well again in time."""
        return self.healed_s is not None


class Rehearsal:
    """Plays a script, and passes every command and every event to `say`."""

    def __init__(self, desired: Desired, seed: int,
                 say: Callable[[str, str], None] = lambda kind, text: None) -> None:
        self.desired = desired
        self.estate = SimulatedEstate(desired, seed=seed)
        self.scenes: list[Scene] = []
        self._say = say
        self._in_flight = set[str]()
        self._routine = set[str]()
        self._store = Store.open(":memory:")
        self.loop = Loop(self.estate, self._store, epoch_clock, seed)
        self.loop.add_listener(self._hear)

    async def play(self, acts: tuple[Act, ...]) -> tuple[Scene, ...]:
        """Build the estate from bare hosts, play every act, and return how each went."""
        await self.loop.set_desired(self.desired)
        running = asyncio.create_task(self.loop.run())
        build = Act("bare hosts: nothing is there yet")
        for act in (build, *acts):
            await self._scene(act)
        self.loop.stop()
        await running
        await self.estate.close()
        self._store.close()
        return tuple(self.scenes)

    async def _scene(self, act: Act) -> None:
        """Play one act: strike, repair by hand where that is scripted, wait until all is well."""
        scene = Scene(act, self.now_s())
        self.scenes.append(scene)
        before = self._conditions()
        self._say("act", act.title)
        for line in act.faults:
            if line.startswith("wait "):
                await asyncio.sleep(float(line.removeprefix("wait ")))
            else:
                self._say("fault", self.estate.command(line))
        if act.edit is not None:    # a new revision
            self.desired = replace(act.edit(self.desired),
                                   revision=f"rehearsal-{len(self.scenes)}")
            await self.loop.set_desired(self.desired)
        while act.mends and self.now_s() < scene.began_s + act.mend_after_s:
            await self._poll(scene, before)
        for line in act.mends:
            self._say("mended", self.estate.command(line))
        await self._until_well(scene, before)
        self._say("healed" if scene.healed else "failed", act.title)
        await asyncio.sleep(BETWEEN_S)

    async def _poll(self, scene: Scene, before: frozenset[tuple[str, str, str, str]]) -> None:
        """Wait a moment; a condition that changed counts as noticed."""
        await asyncio.sleep(POLL_S)
        if scene.noticed_s is None and self._conditions() - before:
            scene.noticed_s = self.now_s()

    def _conditions(self) -> frozenset[tuple[str, str, str, str]]:
        """Return the conditions of the last plan."""
        conditions = self.loop.plan.conditions if self.loop.plan is not None else ()
        about = self.scenes[-1].act.about
        return frozenset((c.target, str(c.type), str(c.status), c.reason) for c in conditions
                         if about in {"", c.target})

    async def _until_well(self, scene: Scene,
                          before: frozenset[tuple[str, str, str, str]]) -> None:
        """Wait until the loop has noticed, and has had nothing to do for a while."""
        deadline_s, well_since_s = self.now_s() + LIMIT_S, None
        while self.now_s() < deadline_s:
            well = scene.noticed_s is not None and self.is_well()
            well_since_s = (well_since_s or self.now_s()) if well else None
            if well_since_s is not None and self.now_s() - well_since_s >= QUIET_S:
                scene.healed_s = well_since_s
                return
            await self._poll(scene, before)

    def is_well(self) -> bool:
        """Return whether every node answers and nothing but routine is left to do."""
        plan, nodes = self.loop.plan, self.loop.observed.nodes
        return (plan is not None and plan.revision == self.desired.revision
                and all(step.action.cause is Cause.ROUTINE for step in plan.steps)
                and not any(remark.unknown for remark in plan.remarks)
                and all(isinstance(fact, Known) for fact in nodes.values())
                and not self._in_flight and not self.estate.busy)

    def _hear(self, event: Event) -> None:
        """Record an event of the loop, and pass it on."""
        if self._is_routine(event):
            self._say("routine", f"{event.target}: {event.sentence}")
            return
        scene = self.scenes[-1] if self.scenes else None
        if event.kind is EventKind.INTENT:
            self._in_flight.add(event.action_id)
        if event.kind is EventKind.OUTCOME:
            self._in_flight.discard(event.action_id)
        if scene is not None and scene.healed_s is None and scene.act.about in {"", event.target}:
            if event.kind in NOTICED and scene.noticed_s is None:
                scene.noticed_s = self.now_s()
            if event.kind is EventKind.OUTCOME:
                scene.actions.append(f"{event.action_id.partition(':')[0]}"
                                     f" {event.target.partition('/')[2]}")
            if event.kind is EventKind.REFUSED:
                scene.held_back.append(event.sentence)
        self._say(str(event.kind), f"{event.target}: {event.sentence}")

    def _is_routine(self, event: Event) -> bool:
        """Return whether an event is about a routine action."""
        plan = self.loop.plan
        if not event.action_id or plan is None:
            return False
        cause = None if event.kind is EventKind.OUTCOME else next(
            (one.action.cause for one in plan.steps if one.action.id == event.action_id), None)
        if cause is not None:
            (self._routine.add if cause is Cause.ROUTINE else self._routine.discard)(
                event.action_id)
        return event.action_id in self._routine

    def now_s(self) -> float:
        """Return the virtual seconds since the rehearsal began."""
        return asyncio.get_running_loop().time()


def to_json(scene: Scene) -> Mapping[str, object]:
    """Return a scene as plain values."""
    since = scene.began_s
    return {
        "fault": scene.act.title, "healed": scene.healed,
        "noticed_after_s": None if scene.noticed_s is None else round(scene.noticed_s - since, 2),
        "healed_after_s": None if scene.healed_s is None else round(scene.healed_s - since, 2),
        "actions": scene.actions, "held_back": scene.held_back, "lesson": scene.act.lesson,
    }
