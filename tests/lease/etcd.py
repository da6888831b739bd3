"""A cluster of etcd on loopback: three members that a test may kill, freeze or start again."""

import shutil
import signal
import ssl
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.transport.sshd import free_port
from tests.waiting import wait_until

PROGRAM = shutil.which("etcd")


@dataclass
class Cluster:
    """Three members, and their client addresses."""

    folder: Path
    certificates: Path | None = None
    """Where ca.crt, server.crt and client.crt lie; None: clients speak in the clear."""
    ports: list[tuple[int, int]] = field(default_factory=list)
    """By member: for clients, for the other members."""
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Choose ports."""
        self.ports = [(free_port(), free_port()) for _ in range(3)]

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Return the client address of each member."""
        scheme = "http" if self.certificates is None else "https"
        return tuple(f"{scheme}://127.0.0.1:{client}" for client, _ in self.ports)

    def _tls(self) -> list[str]:
        """Return what makes a member speak TLS, and want to know its clients."""
        if self.certificates is None:
            return []
        return ["--cert-file", str(self.certificates / "server.crt"),
                "--key-file", str(self.certificates / "server.key"), "--client-cert-auth",
                "--trusted-ca-file", str(self.certificates / "ca.crt")]

    def start(self, *members: int) -> None:
        """Start members, all by default."""
        assert PROGRAM is not None
        peers = ",".join(f"m{n}=http://127.0.0.1:{peer}" for n, (_, peer) in enumerate(self.ports))
        for n in members or range(3):
            peer = f"http://127.0.0.1:{self.ports[n][1]}"
            log = (self.folder / f"m{n}.log").open("ab")
            with log:
                self.processes[n] = subprocess.Popen(
                    [PROGRAM, "--name", f"m{n}", "--data-dir", str(self.folder / f"m{n}"),
                     "--listen-client-urls", self.endpoints[n],
                     "--advertise-client-urls", self.endpoints[n],
                     "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                     "--initial-cluster", peers, "--log-level", "warn",
                     "--heartbeat-interval", "50", "--election-timeout", "500", *self._tls()],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait(self) -> None:
        """Wait until all that run know who leads."""
        wait_until(lambda: all(self.leads(n) is not None for n in self.processes), 60)

    def leads(self, member: int) -> int | None:
        """Return which member leads, as one of them says; None if it does not say."""
        said = self._ask(member, "/v3/maintenance/status", {})
        leader = int(str(said.get("leader", 0))) if said is not None else 0
        return leader or None

    def ask(self, path: str, question: dict[str, object]) -> dict[str, Any]:
        """Ask the first member that answers."""
        for member in range(3):
            if (said := self._ask(member, path, question)) is not None:
                return said
        raise AssertionError("no member answers")

    def _ask(self, member: int, path: str, question: dict[str, object]) -> dict[str, Any] | None:
        """Ask one member; None if it does not answer."""
        trust: ssl.SSLContext | bool = False
        if self.certificates is not None:
            trust = ssl.create_default_context(cafile=str(self.certificates / "ca.crt"))
            trust.load_cert_chain(self.certificates / "client.crt",
                                  self.certificates / "client.key")
        try:
            answer = httpx.post(f"{self.endpoints[member]}{path}", json=question, timeout=5,
                                trust_env=False, verify=trust)
            said: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError):
            return None
        return said if answer.status_code < 500 else None

    def signal(self, member: int, number: signal.Signals) -> None:
        """Send a signal to a member."""
        self.processes[member].send_signal(number)

    def kill(self, member: int) -> None:
        """Kill a member."""
        process = self.processes.pop(member)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """Kill whatever runs."""
        for member in list(self.processes):
            self.kill(member)
