"""Two controllers, of which one conducts: one is frozen, the other takes over, hosts know whom."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller.errors import Refused
from controller.providers.termed import TermedTransport
from controller.store.lease import Term
from controller.transport.base import Command, Endpoint
from controller.transport.ssh import SshTransport
from tests.lab.hotsite import Hotsite
from tests.lab.lab import STATE, Lab, wait_until

TTL_S = 4.0
HOST = "paris-2"
WITNESS = """apiVersion: hotsite/v1
kind: Witness
metadata: {name: aws}
spec: {address: 10.77.0.4, place: aws}
"""
FORGET = "rm -rf /var/lib/hotsite/term* /var/lib/hotsite/lease"


class Controller(Hotsite):
    """One controller of two: its own specs and state folder, and its loop while it runs."""

    def __init__(self, folder: Path) -> None:
        """Declare one host, one VM, a witness and a lease, and nothing else."""
        super().__init__(folder)
        for path in (*self.specs.glob("virtual_machine/*"), *self.specs.glob("host/*"),
                     *self.specs.glob("switch/*")):
            if path.stem not in {"builder", HOST}:
                path.unlink()
        self.pin("builder", HOST)
        self.declare("witness", "aws", WITNESS)
        self.edit("estate", "lab", "  limits:\n",
                  f"  failover: {{lease: {{ttl: {TTL_S:g}s}}}}\n  limits:\n")

    @contextmanager
    def conducting(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run the loop until the block ends."""
        with (self.state.parent / "run.log").open("a") as out:
            process = subprocess.Popen(self.command("run", str(self.specs), *words), stdout=out,
                                       stderr=subprocess.STDOUT,
                                       env={**os.environ, "PYTHONUNBUFFERED": "1"})
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                process.wait()

    def mode(self) -> tuple[str, int]:
        """Return what it knows of the lease, and its term."""
        status = self.status()
        lease = ((status.heartbeat if status is not None else None) or {}).get("lease") or {}
        return lease.get("mode", ""), lease.get("term", 0)

    def begun(self) -> list[tuple[str, int]]:
        """Return the actions that it began, each with its term."""
        return [(one["action_id"], one["term"]) for one in self.events()
                if one["kind"] == "intent"]


@pytest.fixture
def pair(converged: Lab, tmp_path: Path) -> Iterator[tuple[Controller, Controller]]:
    """Give two controllers of one estate whose nodes were told no term yet."""
    lab, nodes = converged, (HOST, "witness")
    before = Hotsite(tmp_path / "before")
    before.pin("builder", HOST)     # its host is all that they see
    before.converge()
    for node in nodes:
        lab.exec(node, "sh", "-c", FORGET)
    yield Controller(tmp_path / "first"), Controller(tmp_path / "second")
    for node in nodes:
        lab.exec(node, "sh", "-c", FORGET)
    Hotsite(tmp_path / "after").converge()


def runs(lab: Lab) -> bool:
    """Return whether the guest runs."""
    return "builder" in lab.exec(HOST, "virsh", "-q", "list", "--name").split()


def term_on(lab: Lab, node: str) -> str:
    """Return the term that a node was told."""
    return lab.exec(node, "cat", "/var/lib/hotsite/term").split()[0]


async def speak(term: Term) -> None:
    """Change something on the host in a term."""
    transport = SshTransport()
    transport.declare((Endpoint(HOST, "10.77.0.12", 22, "root", str(STATE / "id_ed25519"),
                                str(STATE / "known_hosts")),))
    termed = TermedTransport(transport)

    class Told:
        """The terms of a controller that knows of no other."""

        def current(self) -> Term:
            """Return its term."""
            return term

        def overtaken(self, node: str, by: Term) -> None:
            """Learn nothing."""

    termed.terms = Told()
    try:
        await termed.run(HOST, Command(("touch", "/run/spoken")))
    finally:
        await transport.close()


def test_a_standby_takes_over_and_hosts_refuse_whoever_was_replaced(
        lab: Lab, pair: tuple[Controller, Controller]) -> None:
    first, second = pair
    with first.conducting() as one:
        wait_until("the first conducts", lambda: first.mode() == ("conducting", 1))
        wait_until("the guest runs", lambda: runs(lab), 240)
        with second.conducting("--standby") as two:
            wait_until("the second looks on", lambda: second.mode()[0] == "standby")
            wait_until("the witness was told", lambda: term_on(lab, "witness") == "1")
            assert second.begun() == []
            shown = first.ask("lease", str(first.specs))
            assert (shown.status, "conducts in term 1, by witness aws" in shown.output) == (0, True)

            one.send_signal(signal.SIGSTOP)
            stopped = time.monotonic()
            lab.exec(HOST, "virsh", "-q", "destroy", "builder")
            wait_until("the second conducts", lambda: second.mode() == ("conducting", 2))
            assert time.monotonic() - stopped <= TTL_S + 5
            wait_until("the guest runs again", lambda: runs(lab))
            assert term_on(lab, HOST) == term_on(lab, "witness") == "2"
            assert {term for _, term in second.begun()} == {2}
            with pytest.raises(Refused, match="conducts in term 2, and this one had term 1"):
                asyncio.run(speak(Term(1, "first")))
            assert lab.ask("exec", HOST, "--", "test", "-e", "/run/spoken").status != 0

            before = first.begun()
            one.send_signal(signal.SIGCONT)
            wait_until("the first stands back", lambda: first.mode()[0] == "standby")
            two.kill()
            two.wait()
            killed = time.monotonic()
            wait_until("the first takes over", lambda: first.mode() == ("conducting", 3))
            assert time.monotonic() - killed <= TTL_S + 5
            assert first.begun() == before
            lab.exec(HOST, "virsh", "-q", "destroy", "builder")
            wait_until("the guest runs once more", lambda: runs(lab))
            assert first.begun()[len(before):][0][1] == 3
