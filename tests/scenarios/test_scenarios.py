"""Scenarios, a folder each: faults of the estate, and the log that the loop must then write.

Add one by writing its README and commands; run with UPDATE=1 to write log.expect; then read it.

A line of `commands` is an instant in seconds and one of: a fault of the simulated estate;
`edit FILE: OLD -> NEW` or `write FILE: TEXT` (specs, committed at once); `call KIND OLD NEW` (the
same, wherever it is named, with `formerly`); `suspend TARGET SECONDS`,
`resume TARGET`; `failover TARGET [planned] [loss]`, `failback TARGET`, `confirm-fenced HOST`;
`approve ACTION` (of this revision); `ping VM VM`; `wipe` (the controller and all
it has stored are gone, and a new one begins with nothing); `controller stops`, and `controller
starts` with all that is stored; `end`. A first line
`estate PATH` names other specs than those of the lab; `autonomy RUNG` overrides the estate's;
`place NAME` is where the controller stands, and lets VMs fail over by themselves;
`healthy HEALTH` declares what proves that VMs serve; `moves MOVE` how they are moved;
`replicas of VM [VM…]` leaves those VMs protected: in all other scenarios nobody is, so that each
is about one thing.
"""

import asyncio
import logging
import os
import re
import shutil
from pathlib import Path

import pytest

from controller.model.desired import Desired
from controller.model.facts import Unknown
from controller.plan.gates.approval import content
from controller.plan.survey.context import (
    Approval,
    Confirmation,
    FailoverRequest,
    Suspension,
)
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.virtual_time import epoch_clock, run_virtual
from controller.reconcile.loop import Loop
from controller.reconcile.report.event import Event, EventKind
from controller.source.load import load_folder
from controller.store.store import Store

ROOT = Path(__file__).parents[2]
SCENARIOS = sorted(path for path in Path(__file__).parent.iterdir()
                   if (path / "commands").is_file())
TOLD = {EventKind.PLAN, EventKind.REFUSED, EventKind.OUTCOME, EventKind.CONDITION,
        EventKind.OBSERVED, EventKind.FAULT, EventKind.JOURNAL, EventKind.FAILOVER}
SETTLED_S = 2.0


class Play:
    """One scenario on virtual time."""

    def __init__(self, specs: Path, state: Path, place: str | None = None) -> None:
        self.specs = specs
        self.place = place
        self.lines: list[str] = []
        self.desired: Desired = load_folder(specs)
        self.estate = SimulatedEstate(self.desired, converged=True)
        self.state = state
        self.begin()

    def begin(self) -> None:
        """Make a controller on what is stored."""
        self.estate.forget()
        self.store = Store.open(self.state / "state.db")
        self.human = Store.open(self.state / "state.db")
        self.loop = Loop(self.estate, self.store, epoch_clock)
        self.loop.add_listener(self.hear)
        self.loop.stand_at(self.place)

    def say(self, text: str) -> None:
        """Write one line of the log."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= SETTLED_S:
            self.lines.append(f"{now_s:8.2f}  {text}")

    def hear(self, event: Event) -> None:
        """Write down what the loop tells."""
        if event.kind not in TOLD:
            return
        name = event.target.partition("/")[2]
        verb = event.action_id.partition(":")[0]
        what = f"{verb} {name} ({event.outcome})" if event.kind is EventKind.OUTCOME else name
        self.say(f"{event.kind:<9} {what}: {event.sentence}")

    async def play(self, commands: list[str]) -> str:
        """Play all commands and return the log."""
        await self.run()
        for line in commands:
            at_s, _, command = line.partition(" ")
            await asyncio.sleep(float(at_s) - asyncio.get_running_loop().time())
            await self.do(command)
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
            case "wipe" | "controller":
                await self.replace(rest)
            case "edit" | "write" | "call":
                self.say(f"scenario: {command}")
                await self.commit(word, rest)
            case "suspend":
                target, _, seconds = rest.partition(" ")
                self.say(f"scenario: {command}")
                self.human.suspend(Suspension(target, "a test", "to see that it holds",
                                              epoch_clock() + float(seconds)))
            case "resume":
                self.say(f"scenario: {command}")
                self.human.resume(rest)
            case "approve":
                self.say(f"scenario: {command}")
                assert self.loop.plan is not None, "the loop has decided something by now"
                planned = next(step.action for step in self.loop.plan.steps
                               if step.action.id == rest)
                self.human.approve(Approval(rest, self.desired.revision, "a test",
                                            epoch_clock() + 3600, content(planned)))
            case "failover" | "failback":
                self.say(f"scenario: {command}")
                target, _, more = rest.partition(" ")
                self.human.order_failover(FailoverRequest(
                    target, "a test", "to see what comes of it", epoch_clock(),
                    planned=word == "failback" or "planned" in more,
                    back=word == "failback", accepts_loss="loss" in more))
            case "confirm-fenced":
                self.say(f"scenario: {command}")
                seen = self.loop.observed.nodes[rest]
                assert isinstance(seen, Unknown)
                self.human.confirm_fenced(Confirmation(rest, "a test", "pulled its cords",
                                                       seen.last.boot_id if seen.last else "",
                                                       epoch_clock()))
            case "ping":
                a, b = rest.split()
                reached = "reaches" if self.estate.ping(a, b) else "does not reach"
                self.say(f"scenario: {a} {reached} {b}")
            case _:
                self.say(f"scenario: {self.estate.command(command)}")

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


def prepared(folder: Path, work: Path) -> tuple[Path, list[str], str | None]:
    """Return a copy of the scenario's specs, with its overrides, its commands, and the place of
    its controller."""
    lines = [line for line in (folder / "commands").read_text().splitlines()
             if line and not line.startswith("#")]
    settings = {}
    while lines and not lines[0][0].isdigit():
        key, _, value = lines.pop(0).partition(" ")
        settings[key] = value
    specs = work / "specs"
    shutil.copytree(ROOT / settings.get("estate", "specs"), specs)
    _protect_only(specs, settings.get("replicas", "of").split()[1:])
    if "place" in settings:
        _fail_over_by_itself(specs)
    if "moves" in settings:
        policy = specs / "protection_policy/gold.yaml"
        policy.write_text(f"{policy.read_text().rstrip()}\n  move: {{{settings['moves']}}}\n")
    if "healthy" in settings:
        _ask_guests(specs, settings["healthy"])
    if "autonomy" in settings:
        path = specs / "estate" / "lab.yaml"
        text = [line if "autonomy:" not in line else f"  autonomy: {settings['autonomy']}"
                for line in path.read_text().splitlines()]
        path.write_text("\n".join(text) + "\n")
    return specs, lines, settings.get("place")


def rename(specs: Path, kind: str, old: str, new: str) -> None:
    """Give an object another name wherever the specs name it, and say what it was called."""
    (specs / kind / f"{old}.yaml").rename(specs / kind / f"{new}.yaml")
    for path in specs.rglob("*.yaml"):
        text = re.sub(rf"(?<![\w.-]){old}(?![\w.-])", new, path.read_text())
        if path.parent.name == kind and path.stem == new:
            text = text.replace("\nspec: {", f"\nspec: {{formerly: {old}, ").replace(
                "\nspec:\n", f"\nspec:\n  formerly: {old}\n")
        path.write_text(text)


def _fail_over_by_itself(specs: Path) -> None:
    """Declare a witness and guards, and let the protected VMs fail over without a person."""
    (specs / "witness").mkdir(exist_ok=True)
    (specs / "witness/hq.yaml").write_text(
        "kind: Witness\nmetadata: {name: hq}\nspec: {address: 10.77.0.4, place: hq}\n")
    estate = specs / "estate/lab.yaml"
    estate.write_text(estate.read_text().rstrip() + "\n  failover:\n    guard: {keyFile: /k}\n")
    policy = specs / "protection_policy/gold.yaml"
    policy.write_text(policy.read_text().replace(
        "failover: confirm", "failover: automatic\n  isolation: stop"))


def _ask_guests(specs: Path, health: str) -> None:
    """Declare what proves that the protected VMs serve, and at which addresses they are asked."""
    policy = specs / "protection_policy/gold.yaml"
    policy.write_text(policy.read_text().rstrip() + f"\n  health: {{{health}}}\n")
    for path in sorted((specs / "virtual_machine").glob("*.yaml")):
        text = path.read_text()
        path.write_text(re.sub(r"(mac: [0-9a-f:]+)\}\] # ([0-9.]+)", r"\1, address: \2}]", text))


def _protect_only(specs: Path, machines: list[str]) -> None:
    """Take the protection from every VM but these."""
    for path in specs.rglob("*.yaml"):
        text = path.read_text()
        if path.stem not in machines and "\n  protection: " in text:
            path.write_text("".join(line for line in text.splitlines(keepends=True)
                                    if not line.startswith("  protection: ")))


@pytest.mark.parametrize("folder", SCENARIOS, ids=lambda folder: folder.name)
def test_the_loop_writes_this_log(folder: Path, tmp_path: Path) -> None:
    logging.getLogger("hotsite").setLevel(logging.CRITICAL)
    specs, commands, place = prepared(folder, tmp_path)

    async def whole() -> str:
        return await Play(specs, tmp_path, place).play(commands)

    log = run_virtual(whole())
    expect = folder / "log.expect"
    if os.environ.get("UPDATE"):
        expect.write_text(log)
    assert log == expect.read_text()


@pytest.mark.parametrize("folder", SCENARIOS, ids=lambda folder: folder.name)
def test_every_scenario_says_what_it_is_about(folder: Path) -> None:
    assert (folder / "README").read_text().strip()
    assert (folder / "commands").read_text().splitlines()[-1].endswith(" end")
