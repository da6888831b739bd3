"""One scenario on virtual time: a simulated estate, its controllers, and what befalls them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path

from controller.errors import SourceUnavailable
from controller.model.desired import Desired
from controller.model.facts import Unknown
from controller.plan.gates.approval import content
from controller.plan.survey.context import (
    Approval,
    Confirmation,
    FailoverRequest,
    Suspension,
)
from controller.providers.simulated.virtual_time import epoch_clock
from controller.reconcile.loop import Loop
from controller.reconcile.report.event import Event, EventKind
from controller.reconcile.supervise import load_again
from controller.source.load import load_folder
from controller.store.lease import Term
from controller.store.store import Store
from tests.reconcile.candidates import Place
from tests.scenarios.rivals import Hands, contender
from tests.scenarios.specs import rename

TOLD = {EventKind.PLAN, EventKind.REFUSED, EventKind.OUTCOME, EventKind.CONDITION,
        EventKind.OBSERVED, EventKind.FAULT, EventKind.JOURNAL, EventKind.FAILOVER,
        EventKind.SOURCE, EventKind.LEASE}
SETTLED_S = 2.0
FIRST, SECOND = "first", "standby"


class UnreachableSource:
    """A repository that stood at the lost site."""

    fault = ""

    async def load(self) -> Desired:
        """Fail.

        Errors: SourceUnavailable.
        """
        raise SourceUnavailable("git+ssh://git@paris/estate.git cannot be fetched: no connection")

    def changes(self) -> AsyncIterator[None]:
        """Never be asked."""
        raise AssertionError("it is loaded, and never followed")

    def describe(self) -> str:
        """Return where the specs are."""
        return "git+ssh://git@paris/estate.git"


class Standby:
    """A second controller, which stores and sees everything by itself."""

    def __init__(self, play: "Play", store: Store) -> None:
        self.store = store
        self.hands = Hands(play.desired, play.noted, play.clock, play.estate.world)
        self.loop = Loop(self.hands, store, play.clock, candidate=contender(
            SECOND, play.lease, self.hands, standby=True))
        self.loop.add_listener(partial(play.hear, whose=f"{SECOND}: "))
        self.loop.stand_at(play.place)

    async def run(self, desired: Desired) -> None:
        """Let it work."""
        await self.loop.set_desired(desired)
        self.running = asyncio.create_task(self.loop.run())

    async def stop(self) -> None:
        """End it."""
        self.loop.stop()
        await self.running
        self.store.close()
        await self.hands.close()


class Play:
    """One scenario on virtual time."""

    def __init__(self, specs: Path, state: Path, settings: Mapping[str, str]) -> None:
        self.specs = specs
        self.place = settings.get("place")
        self.clock_off_s = 0.0
        self.lines: list[str] = []
        self.desired: Desired = load_folder(specs)
        self.noted = dict[str, Term]()
        self.lease = Place()
        self.estate = Hands(self.desired, self.noted, self.clock)
        self.state = state
        self.standby: Standby | None = None
        self.begin(inside=settings.get("inside"))

    def clock(self) -> float:
        """Return what the controller's clock says."""
        return epoch_clock() + self.clock_off_s

    def begin(self, inside: str | None = None) -> None:
        """Make a controller on what is stored, on a machine of its own or inside a VM."""
        machine = next((node.domains[inside].uuid for node in self.estate.world.nodes.values()
                        if inside in node.domains), "")
        self.estate.forget()
        self.store = Store.open(self.state / "state.db")
        self.human = Store.open(self.state / "state.db")
        self.loop = Loop(self.estate, self.store, self.clock, candidate=contender(
            FIRST, self.lease, self.estate, machine_uuid=machine))
        self.loop.add_listener(self.hear)
        self.loop.stand_at(self.place)

    def say(self, text: str) -> None:
        """Write one line of the log."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= SETTLED_S:
            self.lines.append(f"{now_s:8.2f}  {text}")

    def hear(self, event: Event, whose: str = "") -> None:
        """Write down what the loop tells."""
        if event.kind not in TOLD:
            return
        name = event.target.partition("/")[2]
        verb = event.action_id.partition(":")[0]
        what = f"{verb} {name} ({event.outcome})" if event.kind is EventKind.OUTCOME else name
        self.say(f"{whose}{event.kind:<9} {what}: {event.sentence}")

    async def play(self, commands: list[str]) -> str:
        """Play all commands and return the log."""
        await self.run()
        for line in commands:
            at_s, _, command = line.partition(" ")
            await asyncio.sleep(float(at_s) - asyncio.get_running_loop().time())
            await self.do(command)
        if self.standby is not None:
            await self.standby.stop()
        await self.stop()
        await self.estate.close()
        return "\n".join(self.lines) + "\n"

    async def run(self) -> None:
        """Let the controller work."""
        await self.loop.set_desired(self.desired)
        self.running = asyncio.create_task(self.loop.run())

    async def stop(self) -> None:
        """End the controller, unless it has ended."""
        if self.running.done():
            return
        self.loop.stop()
        await self.running
        self.store.close()
        self.human.close()

    async def replace(self, what: str) -> None:
        """Stop the controller, start one that knows all that is stored, or one that knows nothing.
        """
        self.say(f"scenario: the controller {what}" if what else
                 "scenario: the controller and its store are gone; a new one begins")
        if what == "starts":
            self.begin()
            await self.run()
            return
        await self.stop()
        if what == "stops":
            return
        self.state = self.state / "new"
        self.state.mkdir()
        self.begin()
        await self.run()

    async def do(self, command: str) -> None:
        """Do one command."""
        word, _, rest = command.partition(" ")
        match word:
            case "end":
                self.tell_the_end()
            case "wipe" | "controller" | "standby" | "lease" | "fetch":
                await self.meddle(word, rest)
            case "edit" | "write" | "call":
                self.say(f"scenario: {command}")
                await self.commit(word, rest)
            case "suspend" | "resume" | "approve" | "failover" | "failback" | "confirm-fenced":
                self.say(f"scenario: {command}")
                self.order(word, rest)
            case "ping":
                a, b = rest.split()
                reached = "reaches" if self.estate.ping(a, b) else "does not reach"
                self.say(f"scenario: {a} {reached} {b}")
            case _:
                self.say(f"scenario: {self.estate.command(command)}")

    async def meddle(self, word: str, rest: str) -> None:
        """Do something to a controller, or to what it depends on."""
        if word == "standby":
            self.say("scenario: a second controller begins, as a standby")
            self.standby = Standby(self, Store.open(self.state / "standby.db"))
            await self.standby.run(self.desired)
        elif word == "lease":
            self.lease.cut = frozenset({FIRST} if rest == "cut" else ())
            self.say("scenario: the first controller"
                     f" {'cannot reach' if rest == 'cut' else 'reaches'} where the lease is")
        elif word == "fetch":
            self.say("scenario: the repository of the specs cannot be reached")
            await load_again(self.loop, UnreachableSource(), "the repository")
        elif rest.startswith("clock "):
            self.clock_off_s = float(rest.split()[1])
            self.say(f"scenario: the controller's clock is {self.clock_off_s:g}s off")
        else:
            await self.replace(rest)

    def order(self, word: str, rest: str) -> None:
        """Be a person who orders, approves, confirms, pauses, or ends a pause."""
        target, _, more = rest.partition(" ")
        match word:
            case "suspend":
                self.human.suspend(Suspension(target, "a test", "to see that it holds",
                                              self.clock() + float(more)))
            case "resume":
                self.human.resume(rest)
            case "approve":
                assert self.loop.plan is not None, "the loop has decided something by now"
                planned = next(step.action for step in self.loop.plan.steps
                               if step.action.id == rest)
                self.human.approve(Approval(rest, self.desired.revision, "a test",
                                            self.clock() + 3600, content(planned)))
            case "failover" | "failback":
                self.human.order_failover(FailoverRequest(
                    target, "a test", "to see what comes of it", self.clock(),
                    planned=word == "failback" or "planned" in more,
                    back=word == "failback", accepts_loss="loss" in more))
            case _:
                seen = self.loop.observed.nodes[target]
                assert isinstance(seen, Unknown)
                self.human.confirm_fenced(Confirmation(target, "a test", "pulled its cords",
                                                       seen.last.boot_id if seen.last else "",
                                                       self.clock()))

    async def commit(self, word: str, rest: str) -> None:
        """Change the specs and put them in force."""
        file, _, change = rest.partition(": ")
        path = self.specs / file
        if word == "call":
            rename(self.specs, *rest.split())
        elif word == "edit":
            old, new = change.replace("\\n", "\n").split(" -> ")
            assert old in path.read_text(), f"{file} does not say {old}"
            path.write_text(path.read_text().replace(old, new))
        elif change == "nothing":
            path.unlink()
        else:
            path.write_text(change + "\n")
        self.desired = load_folder(self.specs)
        await self.loop.set_desired(self.desired)

    def tell_the_end(self) -> None:
        """Write down what is left to do, and where everything runs."""
        plan = self.loop.plan
        assert plan is not None, "the loop has decided something by now"
        for step in plan.steps:
            self.say(f"left: {step.action.verb} {step.action.target.partition('/')[2]}"
                     f" ({step.ruling.verdict}: {step.ruling.sentence})")
        for remark in plan.remarks:
            self.say(f"left: {remark.sentence}")
        for vm in sorted(self.desired.virtual_machines):
            self.say(f"{vm} runs on {', '.join(self.estate.world.copies(vm)) or 'no host'}")
        for node in self.estate.world.nodes.values():
            for replica in sorted(node.replicas.values(), key=lambda one: one.machine):
                points = ", ".join(str(one.sequence) for one in replica.points) or "none"
                self.say(f"the replica of {replica.machine} on {node.name} has points {points}")
