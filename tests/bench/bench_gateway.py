"""How long a guest has no gateway: two keepalived with our configuration, a bridge, a ping.

Two switches and a guest are network namespaces on one Linux bridge; the configuration is the one
that a switch is given. The silence is the longest time between two answers to a ping each 20 ms.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from controller.model.linux.keepalived import VrrpInstance
from controller.providers.keepalived.config import ADDRESSES, render_addresses, render_config
from tests.bench.figure import Figure

ADDRESS, ROUNDS, LIMIT_S = "10.2.0.254", 3, 1.0
WHO = {"a": ("10.2.0.252", 150), "b": ("10.2.0.253", 100)}
SETTLES_S, PINGS_S = 10.0, 5
ANSWER = re.compile(r"^\[([0-9.]+)\].*bytes from", re.MULTILINE)


def run(*argv: str) -> str:
    """Run a program that must succeed."""
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


class Rig:
    """Two switches and a guest in one broadcast domain."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark = folder, f"hsgw{os.getpid()}"
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def space(self, name: str) -> str:
        """Return the namespace of a switch, the guest or the wire between them."""
        return f"{self.mark}-{name}"

    def lay(self) -> None:
        """Make the namespaces and the bridge."""
        for name in (*WHO, "guest", "wire"):
            run("ip", "netns", "add", self.space(name))
        wire = self.space("wire")
        run("ip", "-n", wire, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", wire, "link", "set", "br0", "up")
        for name in (*WHO, "guest"):
            run("ip", "-n", wire, "link", "add", f"p-{name}", "type", "veth", "peer", "name",
                "gw200", "netns", self.space(name))
            run("ip", "-n", wire, "link", "set", f"p-{name}", "master", "br0", "up")
        run("ip", "-n", self.space("guest"), "address", "add", "10.2.0.11/24", "dev", "gw200")
        run("ip", "-n", self.space("guest"), "link", "set", "gw200", "up")

    def told(self, name: str, priority: int) -> Path:
        """Write a switch's configuration and return its path."""
        own, _ = WHO[name]
        held = (VrrpInstance("office", 20, "gw200", f"{ADDRESS}/32", f"{own}/24", priority),)
        addresses, config = self.folder / f"{name}.ip", self.folder / f"{name}.conf"
        addresses.write_text(render_addresses(held))
        config.write_text(render_config(name, held).replace(ADDRESSES, str(addresses)))
        return config

    def start(self, name: str, priority: int) -> None:
        """Start keepalived of a switch."""
        config = self.told(name, priority)
        self.running[name] = subprocess.Popen(
            ["ip", "netns", "exec", self.space(name), "keepalived", "--vrrp", "--dont-fork",
             "--no-syslog", f"--use-file={config}", f"--pid={self.folder}/{name}.pid",
             f"--vrrp_pid={self.folder}/{name}-vrrp.pid"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def tell(self, name: str, priority: int) -> None:
        """Have keepalived of a switch read another priority."""
        self.told(name, priority)
        self.running[name].send_signal(signal.SIGHUP)

    def stop(self, name: str) -> None:
        """End keepalived of a switch in good order."""
        self.running[name].terminate()
        self.running.pop(name).wait(SETTLES_S)

    def crash(self, name: str) -> None:
        """Cut a switch off as a loss of power does, then end its keepalived."""
        run("ip", "-n", self.space("wire"), "link", "set", f"p-{name}", "down")
        self.stop(name)

    def wait_held(self, name: str) -> None:
        """Wait until a switch, and no other, holds the address."""
        until = time.monotonic() + SETTLES_S
        while [one for one in WHO if ADDRESS in run(
                "ip", "-n", self.space(one), "-br", "address")] != [name]:
            if time.monotonic() > until:
                raise RuntimeError(f"switch {name} never came to hold {ADDRESS} alone")
            time.sleep(0.05)

    def silence_s(self, strike: Callable[[], None]) -> float:
        """Return the longest time without an answer around what strikes."""
        ping = subprocess.Popen(
            ["ip", "netns", "exec", self.space("guest"), "ping", "-D", "-n", "-i", "0.02", "-w",
             str(PINGS_S), ADDRESS], stdout=subprocess.PIPE, text=True)
        time.sleep(1.0)
        strike()
        said, _ = ping.communicate()
        answers = [float(one) for one in ANSWER.findall(said)]
        return max(after - before for before, after in zip(answers, answers[1:], strict=False))

    def clear(self) -> None:
        """Remove everything."""
        for name in list(self.running):
            self.running[name].kill()
            self.running.pop(name).wait()
        for name in (*WHO, "guest", "wire"):
            with contextlib.suppress(subprocess.CalledProcessError):
                run("ip", "netns", "del", self.space(name))


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    """Lay a rig and take it away."""
    with tempfile.TemporaryDirectory() as folder:
        made = Rig(Path(folder))
        try:
            made.lay()
            yield made
        finally:
            made.clear()


def one_round(made: Rig) -> dict[str, float]:
    """Return the silence of each event, by its name."""
    for name, (_, priority) in WHO.items():
        made.start(name, priority)
    made.wait_held("a")
    found = {"stop": made.silence_s(lambda: made.stop("a"))}
    found["preempt"] = made.silence_s(lambda: made.start("a", 150))
    made.wait_held("a")
    found["role"] = made.silence_s(lambda: made.tell("b", 200))
    made.wait_held("b")
    made.tell("b", 100)
    made.wait_held("a")
    found["crash"] = made.silence_s(lambda: made.crash("a"))
    made.stop("b")
    run("ip", "-n", made.space("wire"), "link", "set", "p-a", "up")
    return found


def figures() -> list[Figure]:
    """Return the longest silence of each event; none where keepalived or root is missing."""
    if shutil.which("keepalived") is None or os.geteuid() != 0:
        return []
    with rig() as made:
        rounds = [one_round(made) for _ in range(ROUNDS)]
    words = {"stop": "keepalived ends", "preempt": "the preferred one returns",
             "role": "a failover moves it", "crash": "its switch dies"}
    return [Figure(f"no gateway while {what}", "s", tuple(one[event] for one in rounds),
                   limit=LIMIT_S, limit_at=1.0) for event, what in words.items()]
