"""A guarded host and its grantors on loopback, with stand-ins for guests: real processes."""

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from controller.providers.linux.archive import pack
from tests.waiting import wait_until

PYTHON = (sys.executable, "-X", "utf8", "-I", "-S")
GUEST = "import signal, sys; {setup}; open(sys.argv[1], 'w').close(); signal.pause()"
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
HOST = "paris-1"
BOUND_S = 300.0
"""No machine is so busy that it takes longer; what takes how long is for the benchmarks to say."""


def key_of(host: str) -> str:
    """Return the key of a host, as hexadecimal digits."""
    return host.encode().ljust(32, b".").hex()


def free_port() -> int:
    """Return a UDP port of loopback that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as box:
        box.bind(("127.0.0.1", 0))
        return int(box.getsockname()[1])


def boottime() -> float:
    """Return the clock that guards go by."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Failed(Exception):
    """A verb that failed: its exit status, and its sentence."""


class Rig:
    """One host, its guests and its grantors; each machine has a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "guard-0123456789abcdef.pyz"
        self.program.write_bytes(pack("guard"))
        self.pids = folder / "qemu"
        self.pids.mkdir()
        self.guests: dict[str, subprocess.Popen[bytes]] = {}
        self.ports: dict[str, int] = {}
        self.ended: set[int] = set()

    # verbs

    def verb(self, verb: str, machine: str, *words: str, told: Any = None) -> Any:
        """Run one verb on a machine and return its answer."""
        done = subprocess.run(
            [*PYTHON, self.program, verb, self.run(machine), *words], timeout=BOUND_S,
            input="" if told is None else json.dumps(told), capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(done.returncode, done.stderr.strip())
        return json.loads(done.stdout) if done.stdout else None

    def run(self, machine: str) -> Path:
        """Return what is a machine's /run/hotsite/guard."""
        return self.folder / machine / "run"

    def durable(self, machine: str) -> Path:
        """Return what is a machine's /var/lib/hotsite/guard."""
        return self.folder / machine / "lib"

    # grantors

    def grantor(self, *names: str, hosts: tuple[str, ...] = (HOST,)) -> None:
        """Start grantors of these names."""
        for name in names:
            self.ports.setdefault(name, free_port())
            self.verb("grantor", name, str(self.durable(name)), told={
                "digest": "d1", "name": name, "address": "127.0.0.1", "port": self.ports[name],
                "keys": {host: key_of(host) for host in hosts}})

    def grantor_pid(self, name: str) -> int:
        """Return the process of a grantor."""
        return next(pid for pid in self.pids_of("run-grantor")
                    if str(self.run(name)) in words_of(pid))

    def silence(self, *names: str) -> None:
        """Kill grantors."""
        for name in names or tuple(self.ports):
            self.kill(self.grantor_pid(name))

    def order(self, verb: str, name: str, *hosts: str, epoch: int = 7, term: int = 1) -> Any:
        """Give an order to a grantor."""
        return self.verb(verb, name, told={
            "epoch": epoch, "hosts": list(hosts or (HOST,)),
            "order": {"term": term, "by": "tests", "why": "a test"}})

    # the guard

    def told(self, **changed: Any) -> dict[str, Any]:
        """Return what the guard is told, with short times."""
        return {"digest": "d1", "host": HOST, "key": key_of(HOST), "pids": str(self.pids),
                "grantors": [{"name": name, "address": "127.0.0.1", "port": port}
                             for name, port in self.ports.items()],
                "victims": list(self.guests), "deadline_s": 2.0, "every_s": 0.25, "kill_s": 1.0,
                "feed_s": 0.2, "watchdog_s": 1.0, "watchdog": None, **changed}

    def guard(self, **changed: Any) -> None:
        """Start the guard, or tell it something else."""
        self.verb("guard", HOST, told=self.told(**changed))

    def granted(self) -> None:
        """Wait until the guard was granted at least once and holds a guest."""
        wait_until(lambda: self.page("granted_at") > 0 and self.page("victims") > 0, BOUND_S)

    def page(self, name: str) -> Any:
        """Return one entry of the guard's page."""
        from guard.clock import boot_id
        from guard.page import read_page

        folder, boot = str(self.run(HOST)), boot_id()
        wait_until(lambda: read_page(folder, boot) is not None, BOUND_S)
        return (read_page(folder, boot) or {})[name]

    def guard_pids(self) -> list[int]:
        """Return the two processes of the guard in force."""
        return [int(pid) for pid in self.page("row")["pid"][:2] if pid and running(int(pid))]

    def tombstones(self) -> dict[str, Any]:
        """Return the tombstones by the name of the guest."""
        found = [json.loads(path.read_text())
                 for path in (self.run(HOST) / "tombstones").glob("*.json")]
        return {one["name"]: one for one in found}

    # guests

    def guest(self, *names: str, setup: str = "0") -> None:
        """Start stand-ins: processes with the arguments of QEMU, and libvirt's pid files."""
        for name in names:
            up = self.folder / f"{name}.up"
            self.guests[name] = subprocess.Popen(
                [*PYTHON, "-c", GUEST.format(setup=setup), str(up),
                 "-name", f"guest={name},debug-threads=on", "-uuid", uuid_of(name)])
            wait_until(up.exists, BOUND_S)
            (self.pids / f"{name}.pid").write_text(f"{self.guests[name].pid}\n")

    def alive(self) -> list[str]:
        """Return the guests that run."""
        return [name for name, guest in self.guests.items() if guest.poll() is None]

    def gone(self, limit_s: float = BOUND_S) -> float:
        """Wait until no guest runs, and return when that was."""
        wait_until(lambda: not self.alive(), limit_s)
        return boottime()

    # processes

    def pids_of(self, verb: str) -> list[int]:
        """Return all processes of this rig that run a verb."""
        return [pid for pid in (int(path.name) for path in Path("/proc").glob("[0-9]*"))
                if verb in (words := words_of(pid))
                and any(word.startswith(str(self.folder)) for word in words)]

    def kill(self, pid: int) -> None:
        """Kill one process, and return once it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not running(pid), BOUND_S)

    def end(self) -> None:
        """End all that runs: the guard's two processes at once, else each starts the other."""
        for verb in ("run-guard", "run-grantor"):
            while pids := self.pids_of(verb):
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGSTOP)
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                wait_until(lambda pids=pids: not any(map(running, pids)), BOUND_S)
        for guest in self.guests.values():
            guest.kill()
            guest.wait()


def words_of(pid: int) -> list[str]:
    """Return the arguments of a process, none once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def running(pid: int) -> bool:
    """Return whether a process is there, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def uuid_of(name: str) -> str:
    """Return a UUID for a name."""
    return f"00000000-0000-4000-8000-{struct.pack('>Q', abs(hash(name)))[2:].hex()}"
