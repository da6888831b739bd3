"""A rehearsal: a script of faults strikes an estate in memory; how each was healed is recorded.

Rule 1: the loop is the one of `run`, and knows nothing of the script.
Rule 2: routine actions, such as the next restore point when it is due, heal nothing.
Rule 3: whether one VM runs twice is seen in the world itself, all the time, and not in the facts
        that the loop has of it. An act in which one does is not healed, unless it is about that.
Rule 4: what a person orders is put where the verbs put it: in the store, by another connection.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from controller.model.desired import Desired
from controller.model.facts import Known, Unknown
from controller.plan.actions.action import Cause
from controller.plan.survey.context import Confirmation, FailoverRequest
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.virtual_time import epoch_clock
from controller.providers.simulated.world import executes
from controller.reconcile.loop import Loop
from controller.reconcile.report.event import Event, EventKind
from controller.store.store import Store

LIMIT_S: Final = 600.0
QUIET_S: Final = 1.0
"""All must be well for so long before an act counts as healed."""
BETWEEN_S: Final = 5.0
POLL_S: Final = 0.1
UNAVAILABLE: Final = "unavailable"
"""The outcome of an action that was never sent."""
PERSON: Final = "a person"
NOTICED: Final = frozenset({EventKind.OBSERVED, EventKind.PLAN, EventKind.CONDITION,
                            EventKind.REFUSED, EventKind.OUTCOME})
ORDERS: Final = frozenset({"failover", "failback", "confirm-fenced"})
Edit = Callable[[Desired], Desired]


@dataclass(frozen=True, slots=True)
class Act:
    """One fault: commands for the simulated world or an edit of the specs, and its repair by hand.
    """

    title: str
    faults: tuple[str, ...] = ()
    """Commands for the simulated world, `wait SECONDS`, or what a person orders: `failover TARGET`,
    `failback TARGET`, `confirm-fenced HOST`."""
    mends: tuple[str, ...] = ()
    """Commands that somebody gives `mend_after_s` later; without any, the loop heals alone."""
    mend_after_s: float = 45.0
    edit: Edit | None = None
    lesson: str = ""
    """What the loop must not do meanwhile; shown in the table."""
    about: str = ""
    """The target at which the loop has to notice it; empty: any."""
    until: tuple[str, str] | None = None
    """Scope and phase of a failover at which the act is over, whatever else is still dark."""
    doubles: bool = False
    """Whether the fault itself is that one VM runs twice."""

    @property
    def orders(self) -> bool:
        """Return whether a person orders a failover, or the way back."""
        return any(line.partition(" ")[0] in ORDERS for line in self.faults)


@dataclass(slots=True)
class Scene:
    """How one act went; instants are virtual seconds since the rehearsal began."""

    act: Act
    began_s: float
    noticed_s: float | None = None
    healed_s: float | None = None
    actions: list[str] = field(default_factory=list)
    held_back: list[str] = field(default_factory=list)
    twice: set[str] = field(default_factory=set)
    """UUIDs of VMs of which two copies ran at one moment."""
    ordered_s: float | None = None
    """When a person gave the last order of it."""
    lost_s: float | None = None
    """Of the VMs that were promoted: how old the oldest restore point was at the fault."""

    @property
    def healed(self) -> bool:
        """Return whether all was well again in time, and no VM ever ran twice by what we did."""
        return self.healed_s is not None and (self.act.doubles or not self.twice)


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
        self._folder = TemporaryDirectory(prefix="hotsite-demo-")
        state = Path(self._folder.name) / "state.db"
        self._store, self._person = Store.open(state), Store.open(state)
        self.loop = Loop(self.estate, self._store, epoch_clock, seed)
        self.loop.add_listener(self._hear)

    async def play(self, acts: tuple[Act, ...]) -> tuple[Scene, ...]:
        """Build the estate from bare hosts, play every act, and return how each went."""
        await self.loop.set_desired(self.desired)
        running = asyncio.create_task(self.loop.run())
        counting = asyncio.create_task(self._count_copies())
        build = Act("bare hosts: nothing is there yet")
        for act in (build, *acts):
            await self._scene(act)
        counting.cancel()
        self.loop.stop()
        await asyncio.gather(running, counting, return_exceptions=True)
        await self.estate.close()
        self._store.close()
        self._person.close()
        self._folder.cleanup()
        return tuple(self.scenes)

    async def _scene(self, act: Act) -> None:
        """Play one act: strike, repair by hand where that is scripted, wait until all is well."""
        scene = Scene(act, self.now_s())
        self.scenes.append(scene)
        before = self._conditions()
        self._say("act", act.title)
        ages_s = self._point_ages_s()
        for line in act.faults:
            await self._do(line)
        if act.edit is not None:    # a new revision
            self.desired = replace(act.edit(self.desired),
                                   revision=f"rehearsal-{len(self.scenes)}")
            await self.loop.set_desired(self.desired)
        while act.mends and self.now_s() < scene.began_s + act.mend_after_s:
            await self._poll(scene, before)
        for line in act.mends:
            self._say("mended", self.estate.command(line))
        await self._until_well(scene, before)
        scene.lost_s = max((ages_s.get(action.removeprefix("promote "), 0.0)
                            for action in scene.actions if action.startswith("promote ")),
                           default=None)
        self._say("healed" if scene.healed else "failed", act.title)
        await asyncio.sleep(BETWEEN_S)

    async def _do(self, line: str) -> None:
        """Do one line of an act."""
        word, _, rest = line.partition(" ")
        if word in ORDERS:
            self.scenes[-1].ordered_s = self.now_s()
        if word == "wait":
            await asyncio.sleep(float(rest))
        elif word in ORDERS - {"confirm-fenced"}:
            back = word == "failback"
            self._person.order_failover(FailoverRequest(
                rest, PERSON, "the demo", epoch_clock(), planned=back, back=back))
            self._say("order", f"{PERSON} orders `hotsite {word} {rest.partition('/')[2]}`")
        elif word == "confirm-fenced":
            seen = self.loop.observed.nodes.get(rest)
            last = seen.last if isinstance(seen, Unknown) else None
            self._person.confirm_fenced(Confirmation(
                rest, PERSON, "it has burnt", "" if last is None else last.boot_id, epoch_clock()))
            self._say("order", f"{PERSON} says `hotsite confirm-fenced {rest}`")
        else:
            self._say("fault", self.estate.command(line))

    def _point_ages_s(self) -> dict[str, float]:
        """Return, by VM, how old its newest sound restore point is now."""
        newest: dict[str, float] = {}
        for node in self.estate.world.nodes.values():
            for replica in node.replicas.values():
                for point in replica.points:
                    if point.sound:
                        newest[replica.machine] = max(point.started_at,
                                                      newest.get(replica.machine, 0.0))
        return {name: epoch_clock() - started_at for name, started_at in newest.items()}

    async def _count_copies(self) -> None:
        """Note, as long as the rehearsal lasts, each VM of which two copies run at one moment."""
        while True:
            running = Counter(domain.uuid for node in self.estate.world.nodes.values()
                              for domain in node.domains.values() if executes(domain))
            if self.scenes:
                self.scenes[-1].twice.update(uuid for uuid, count in running.items() if count > 1)
            await asyncio.sleep(POLL_S)

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
            well = scene.noticed_s is not None and self._is_over(scene.act)
            well_since_s = (well_since_s or self.now_s()) if well else None
            if well_since_s is not None and self.now_s() - well_since_s >= QUIET_S:
                scene.healed_s = well_since_s
                return
            await self._poll(scene, before)

    def _is_over(self, act: Act) -> bool:
        """Return whether the act has come to the end that its script says: by default, all well."""
        if act.until is None:
            return self.is_well()
        plan = self.loop.plan
        return plan is not None and not self._in_flight and act.until in {
            (one.scope, one.phase) for one in plan.failovers}

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
            if event.kind is EventKind.OUTCOME and event.outcome != UNAVAILABLE:
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
        "ran_twice": sorted(scene.twice),
        "ordered_after_s": None if scene.ordered_s is None else round(scene.ordered_s - since, 2),
        "lost_s": None if scene.lost_s is None else round(scene.lost_s, 2),
    }
