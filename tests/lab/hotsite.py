"""Drive the program as its user would: its command, a copy of the lab's specs, a state folder."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controller.errors import HotsiteError
from controller.reconcile.inspect.loop_status import LoopStatus, read_status
from controller.reconcile.manager import Manager
from tests.lab.lab import ROOT, Reply, bare, wait_until

PROGRAM = Path(sys.executable).parent / "hotsite"
SETTLED = "with every guest running and nothing to change"


class Hotsite:
    """The program on specs and a state folder of its own, both in one folder."""

    def __init__(self, folder: Path, *, protected: bool = False, systems: bool = False) -> None:
        """Copy the lab's specs, so that edits do not touch the repository.

        Where a test is not about replicas, no VM has one: copies would cost time and say much.
        Where no guest has to be spoken to, none has a system: to boot them would cost minutes.
        What the last test declared and this one does not is taken away without a grace period.
        """
        self.specs = folder / "specs"
        self.state = folder / "state"
        shutil.copytree(ROOT / "specs", self.specs)
        for path in () if protected else sorted(self.specs.glob("virtual_machine/*.yaml")):
            path.write_text(re.sub(r"\n  protection: .*", "", path.read_text()))
        template = self.specs / "templates/guest.xml"
        if not systems:
            template.write_text(bare(template.read_text()))
        self.limit(removalGrace="0s")

    def command(self, *words: str) -> list[str]:
        """Return the argv of one verb."""
        return [str(PROGRAM), *words, "--state", str(self.state)]

    def ask(self, *words: str, limit_s: float = 1800) -> Reply:
        """Run one verb and return how it ended and what it said."""
        done = subprocess.run(self.command(*words), capture_output=True, text=True,
                              timeout=limit_s, check=False, stdin=subprocess.DEVNULL)
        return Reply(done.returncode, done.stdout, done.stderr)

    def plan(self) -> Reply:
        """Look and show what would change."""
        return self.ask("plan", str(self.specs))

    def apply(self) -> Reply:
        """Do what is to be done, without asking."""
        return self.ask("apply", str(self.specs), "--yes")

    def converge(self) -> None:
        """Bring the lab to what the specs say."""
        reply = self.apply()
        assert reply.status == 0, reply.output + reply.complaint

    def status(self) -> LoopStatus | None:
        """Return what the running loop wrote down last; None before it first did."""
        try:
            return read_status(Manager(self.state))
        except HotsiteError:
            return None

    def revision(self) -> str:
        """Return the revision that the specs are at now."""
        return asyncio.run(Manager(self.state).load(str(self.specs))).revision

    def status_text(self) -> str:
        """Return what a person is told, everything on one line."""
        return " ".join(self.ask("status").output.split())

    def events(self) -> list[dict[str, Any]]:
        """Return the whole journal, oldest first."""
        lines = self.ask("events", "--json", "--limit", "100000").output.splitlines()
        return [json.loads(line) for line in lines]

    # --- editing

    def path(self, kind: str, name: str) -> Path:
        """Return the file that declares one object."""
        return self.specs / kind / f"{name}.yaml"

    def declare(self, kind: str, name: str, text: str) -> None:
        """Write a spec as an editor does: beside it, then in its place."""
        part = self.specs / f".{kind}-{name}.part"
        part.write_text(text)
        self.path(kind, name).parent.mkdir(exist_ok=True)
        part.replace(self.path(kind, name))

    def edit(self, kind: str, name: str, old: str, new: str) -> None:
        """Replace one piece of a spec that must be there."""
        text = self.path(kind, name).read_text()
        assert old in text, f"{kind}/{name} has no {old!r}"
        self.declare(kind, name, text.replace(old, new))

    def pin(self, vm: str, host: str) -> None:
        """Pin a guest to a host, whatever its spec says of its place."""
        text = self.path("virtual_machine", vm).read_text()
        self.declare("virtual_machine", vm,
                     re.sub(r"placement: .*", f"placement: {{host: {host}}}", text))

    def limit(self, **numbers: object) -> None:
        """Set limits of the estate."""
        lines = "".join(f"    {name}: {value}\n" for name, value in numbers.items())
        text = re.sub(f"    ({'|'.join(numbers)}): .*\n", "",
                      self.path("estate", "lab").read_text())
        self.declare("estate", "lab", text.replace("  limits:\n", f"  limits:\n{lines}"))

    @contextmanager
    def edited(self, kind: str, name: str, old: str, new: str) -> Iterator[None]:
        """Replace one piece of a spec for as long as a test needs it."""
        before = self.path(kind, name).read_text()
        self.edit(kind, name, old, new)
        try:
            yield
        finally:
            self.declare(kind, name, before)

    # --- the loop

    @contextmanager
    def running(self, *words: str) -> Iterator["Loop"]:
        """Keep the loop going on the specs, and end it as a service manager does."""
        log = self.state.parent / "run.log"
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with log.open("a") as out:
            process = subprocess.Popen(self.command("run", str(self.specs), "--json", *words),
                                       stdout=out, stderr=subprocess.STDOUT, env=environment)
        loop = Loop(self, process, log)
        try:
            loop.wait_settled()
            yield loop
        finally:
            loop.end()


class Loop:
    """A running `hotsite run` and what it says."""

    def __init__(self, hotsite: Hotsite, process: subprocess.Popen[bytes], log: Path) -> None:
        """Listen from what was said before now."""
        self.hotsite = hotsite
        self.process = process
        self._log = log
        self._offset = log.stat().st_size

    @property
    def pid(self) -> int:
        """Return the process that runs the loop."""
        return self.process.pid

    def mark(self) -> int:
        """Return a place in what is said; later words are `heard` since then."""
        return self._log.stat().st_size

    def heard(self, since: int | None = None) -> list[dict[str, Any]]:
        """Return what was said since a mark, or since the start; a fault never is."""
        with self._log.open() as log:
            log.seek(self._offset if since is None else since)
            lines = [line for line in log.read().splitlines(keepends=True) if line.endswith("\n")]
        said = [json.loads(line) if line.startswith("{") else {"kind": "fault", "sentence": line}
                for line in lines]
        faults = [one for one in said if one["kind"] == "fault"]
        assert not faults, faults
        return said

    def actions(self, since: int, kind: str = "intent", outcome: str = "") -> list[str]:
        """Return the ids of the actions that were begun, or ended so, since a mark."""
        return [one["action_id"] for one in self.heard(since)
                if one["kind"] == kind and outcome in ("", one["outcome"])]

    def wait_heard(self, what: str, fits: Callable[[dict[str, Any]], bool], since: int,
                   limit_s: float = 180) -> dict[str, Any]:
        """Return the first word since a mark that fits."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            assert self.process.poll() is None, f"the loop has ended: {self._log.read_text()}"
            found.extend(one for one in self.heard(since) if fits(one))
            return bool(found)

        wait_until(what, look, limit_s)
        return found[0]

    def wait_done(self, action_id: str, since: int, limit_s: float = 180) -> dict[str, Any]:
        """Return the word that an action, named by how its id begins, was done."""
        return self.wait_heard(
            f"the end of {action_id}", lambda one: one["kind"] == "outcome"
            and one["outcome"] == "done" and one["action_id"].startswith(action_id), since, limit_s)

    def wait_sentence(self, *parts: str, limit_s: float = 180) -> str:
        """Wait until the status, as a person reads it, says all of these; return it."""
        said = [""]

        def look() -> bool:
            said[0] = self.hotsite.status_text()
            return all(part in said[0] for part in parts)

        try:
            wait_until(f"status says {parts}", look, limit_s)
        except AssertionError as error:
            raise AssertionError(f"{error}, but: {said[0]}") from error
        return said[0]

    def wait_settled(self, limit_s: float = 180, *, well: bool = True) -> None:
        """Wait until nothing is left to do; unless told otherwise, until all is well, too."""
        last: list[LoopStatus | None] = [None]
        revision = self.hotsite.revision()

        def is_settled() -> bool:
            assert self.process.poll() is None, f"the loop has ended: {self._log.read_text()}"
            last[0] = status = self.hotsite.status()
            good = (0,) if well else (0, 1)
            if status is None or status.heartbeat is None or status.exit_status() not in good:
                return False
            beat = status.heartbeat
            return (beat["pid"] == self.pid and not beat["running"]
                    and (beat["plan"] or {}).get("revision") == revision)

        try:
            wait_until(SETTLED, is_settled, limit_s)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.hotsite.status_text()}") from error

    def end(self, number: int = signal.SIGTERM) -> int:
        """End the loop and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(120)
