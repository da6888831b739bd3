"""
The prober of a drill: it has the addresses of the gateways, and asks guests what users would ask.

    bridge hsd… ── veth ──┐
    bridge hsd… ── veth ──┴ a network namespace with the gateways' addresses, and nothing else

The namespace belongs to one process, which asks in it. It has no name and no other way out, so that
nothing can get from the bridges into the host through it; it goes with its process, and both ends
of each veth with it. Between the networks of the drill it forwards, as the gateways would.

Before any guest runs, each address that will be asked is asked once: nobody may answer. A prober
that hears somebody then, or that cannot be set up, proves nothing, and is named.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
from contextlib import suppress
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from mover.detached import read_line, write_line
from mover.drill.asking import Answer, ask
from mover.drill.bridges import output, remove_ports
from mover.errors import TryAgain

CLONE_NEWNET = 0x40000000
DEAF_TO = (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE)
FIRST_ASK_S = 0.3               # while nobody may answer
HEARD_S = 60.0                  # longer than any answer takes: its programs have limits, too
FORWARDING = ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding")
SILENT_SIX = "/proc/sys/net/ipv6/conf/%s/disable_ipv6"


class Wire(NamedTuple):
    """One network of the drill: its bridge, its VLAN tag there, and the gateway with its prefix."""

    bridge: str
    tag: str
    address: str


class Question(NamedTuple):
    """What one guest is asked; port 0: a ping."""

    address: str
    port: int
    mac: str


class Prober:
    """The conductor's end of the process in the namespace."""

    def __init__(self, base: str, wires: List[Wire], *, ovs: bool) -> None:
        """Errors: TryAgain; nothing of it is left but what `ports` names."""
        self.lies = ""          # why it proves nothing
        self.ports = ports_of(base, len(wires))
        self._pid, self._asks, self._answers = _fork()
        try:
            self._heard()
            for port, wire in zip(self.ports, wires):
                inner = _inner(port)
                output(["ip", "link", "add", port, "type", "veth", "peer", "name", inner,
                        "netns", str(self._pid)])
                _plug(port, wire, ovs=ovs)
                self._tell({"device": inner, "address": wire.address})
        except (OSError, TryAgain) as error:
            self.close()
            raise TryAgain("the prober cannot be set up: %s" % error) from None

    def check(self, questions: List[Question]) -> None:
        """Ask what will be asked while nobody is there who could answer."""
        for one in questions:
            if self.lies:
                break
            answer = self.ask(one, FIRST_ASK_S)
            if answer.answered or "in use" in answer.why or "refuses" in answer.why:
                self.lies = "%s answers before its guest runs" % one.address

    def ask(self, question: Question, ask_s: Optional[float] = None) -> Answer:
        """Ask one guest; a prober that is gone, or stands still, has heard nothing."""
        told = {**question._asdict(), **({} if ask_s is None else {"ask_s": ask_s})}
        try:
            return Answer(*self._tell(told)["answer"])
        except (OSError, TryAgain) as error:
            self.lies = self.lies or "the prober is gone: %s" % error
            return Answer(False, self.lies)

    def _tell(self, told: Dict[str, Any]) -> Dict[str, Any]:
        write_line(self._asks, told)
        return self._heard()

    def _heard(self) -> Dict[str, Any]:
        if not select.select([self._answers], [], [], HEARD_S)[0]:
            raise TryAgain("its process does not answer within %g s" % HEARD_S)
        found = read_line(self._answers)
        if found is None:
            raise TryAgain("its process has ended")
        if "failed" in found:
            raise TryAgain(str(found["failed"]))
        return found

    def close(self) -> None:
        """End the process, and the namespace and its links with it."""
        for fd in (self._asks, self._answers):
            with suppress(OSError):
                os.close(fd)
        with suppress(OSError):
            os.kill(self._pid, signal.SIGKILL)      # it only asks
            os.waitpid(self._pid, 0)
        with suppress(TryAgain):        # the kernel removes them, too, and takes its time
            remove_ports(self.ports)


def ports_of(base: str, number: int) -> List[str]:
    """Return the names of the prober's ports on the bridges."""
    return [base + "p" + chr(ord("a") + at) for at in range(number)]


def _inner(port: str) -> str:
    """Return the name of a port's other end, in the namespace."""
    return port[:-2] + "q" + port[-1]


def _plug(port: str, wire: Wire, *, ovs: bool) -> None:
    """Put a port on its bridge; the host gets no address on it, not even one made by itself."""
    if os.path.exists(SILENT_SIX % port):
        with open(SILENT_SIX % port, "w", encoding="ascii") as file:
            file.write("1")
    if ovs:
        output(["ovs-vsctl", "--timeout=10", "add-port", wire.bridge, port,
                *(["tag=" + wire.tag] if wire.tag else [])])
    else:
        output(["ip", "link", "set", port, "master", wire.bridge])
    output(["ip", "link", "set", port, "up"])


def _fork() -> Tuple[int, int, int]:
    """Start the process; return it, and the ends of its pipes."""
    heard, asks = os.pipe()
    answers, said = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _live(heard, said)
        finally:
            os._exit(0)     # never on in what the conductor does
    os.close(heard)
    os.close(said)
    return pid, asks, answers


def _live(heard: int, said: int) -> None:
    """Answer one line after another, in a network of its own, until the conductor is gone."""
    for number in DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    for name in os.listdir("/proc/self/fd"):    # locks, and pipes whose ends others wait for
        if int(name) > 2 and int(name) not in (heard, said):
            with suppress(OSError):
                os.close(int(name))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        write_line(said, {"failed": "no network of its own: %s" % os.strerror(ctypes.get_errno())})
        return
    write_line(said, {"ready": True})
    while True:
        told = read_line(heard)
        if told is None:
            return
        try:
            write_line(said, _done(told))
        except (OSError, TryAgain, subprocess.TimeoutExpired) as error:
            write_line(said, {"failed": str(error)})


def _done(told: Dict[str, Any]) -> Dict[str, Any]:
    """Do what one line asks for."""
    if "device" not in told:
        return {"answer": [*ask(**told)]}
    output(["ip", "link", "set", "lo", "up"])
    output(["ip", "address", "add", told["address"], "dev", told["device"],
            *(["nodad"] if ":" in told["address"] else [])])
    output(["ip", "link", "set", told["device"], "up"])
    for path in FORWARDING:
        with suppress(FileNotFoundError), open(path, "w", encoding="ascii") as file:
            file.write("1")
    return {"plugged": told["device"]}
