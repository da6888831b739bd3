"""The prober asks guests from a network of its own, by real links; what lies or fails is named."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mover.drill import prober
from mover.drill.calls import Calls
from mover.drill.prober import Prober, Question, Wire
from mover.errors import TryAgain

from tests.mover.transfers import REMOTE

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes networks")
MAC, OTHER = "52:54:00:0a:02:15", "52:54:00:0a:02:16"
HOST = """
import json, os, sys
from mover.drill.bridges import bridges_of, make_bridge
from mover.drill.prober import Prober, Question, Wire

def say(told):
    sys.stdout.write(json.dumps(told) + chr(10))
    sys.stdout.flush()

make_bridge("hsd0a", ovs=False)
say({})
sys.stdin.readline()
prober = Prober("hsd0", [Wire("hsd0a", "", "10.2.0.254/24")], ovs=False)
for line in sys.stdin:
    word, told = json.loads(line)
    question = Question(*told)
    if word == "check":
        prober.check([question])
    said = prober.ask(question) if word == "ask" else None
    say({"said": said, "lies": prober.lies})
prober.close()
say(sorted(os.listdir("/sys/class/net")))
"""
SYSFS = ["sh", "-ec", 'mount -t sysfs none /sys; exec "$@"', "sh"]
GUEST = """
import socket, sys
sys.stdin.readline()
listening = socket.create_server(("0.0.0.0", 8080))
sys.stdout.write(chr(10))
sys.stdout.flush()
sys.stdin.readline()
"""


class Wired:
    """A host whose network is its own, its prober, and guests on its bridge."""

    def __init__(self, host: "subprocess.Popen[str]") -> None:
        self.host, self.guests = host, list["subprocess.Popen[str]"]()

    def guest(self, mac: str = MAC, address: str = "10.2.0.21") -> None:
        """Put a guest on the bridge that listens on port 8080."""
        guest = begun(["unshare", "--net", sys.executable, "-c", GUEST])
        number = len(self.guests)
        self.guests.append(guest)
        inside(self.host, f"ip link add g{number} type veth peer name eth0 address {mac} netns"
               f" {guest.pid}; ip link set g{number} master hsd0a up")
        inside(guest, f"ip address add {address}/24 dev eth0; ip link set eth0 up;"
               " ip link set lo up")
        told(guest)

    def prober(self) -> None:
        """Let the prober begin."""
        self.say("")

    def say(self, line: str) -> None:
        """Send the host one line."""
        assert self.host.stdin is not None
        self.host.stdin.write(line + "\n")
        self.host.stdin.flush()

    def ask(self, word: str, port: int, mac: str = MAC, address: str = "10.2.0.21") -> Any:
        """Let the prober ask."""
        self.say(json.dumps([word, [address, port, mac]]))
        assert self.host.stdout is not None
        return json.loads(self.host.stdout.readline())


def begun(words: list[str]) -> "subprocess.Popen[str]":
    """Begin a process that is told what to do."""
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                            env={**os.environ, "PYTHONPATH": str(REMOTE)})


def children() -> set[int]:
    """Return the processes that this one has begun and not waited for."""
    found = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text(encoding="ascii")
    return {int(one) for one in found.split()}


def told(process: "subprocess.Popen[str]") -> None:
    """Tell a process to go on, and wait until it has."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    process.stdout.readline()


def inside(process: "subprocess.Popen[str]", command: str) -> str:
    """Run commands in the network of a process."""
    return subprocess.run(["nsenter", "-t", str(process.pid), "-n", "sh", "-ec", command],
                          check=True, capture_output=True, text=True).stdout


@contextmanager
def wired() -> Iterator[Wired]:
    """A host with a bridge of a drill, whose prober has not begun."""
    host = begun(["unshare", "--net", "--mount", *SYSFS, sys.executable, "-c", HOST])
    assert host.stdout is not None
    assert host.stdin is not None
    host.stdout.readline()
    found = Wired(host)
    try:
        yield found
    finally:
        host.stdin.close()
        host.stdout.read()
        for one in (*found.guests, host):
            one.kill()
            one.wait()
            for pipe in (one.stdin, one.stdout):
                if pipe is not None:
                    pipe.close()


@needs_root
def test_a_guest_is_asked_as_if_by_its_gateway_and_nothing_else_is_reached() -> None:
    with wired() as host:
        host.prober()
        assert host.ask("check", 8080) == {"said": None, "lies": ""}
        host.guest()
        assert host.ask("ask", 8080) == {"said": [True, ""], "lies": ""}
        assert host.ask("ask", 0)["said"] == [True, ""]
        assert host.ask("ask", 81)["said"] == [False, "it refuses the connection"]
        assert host.ask("ask", 8080, OTHER)["said"] == [
            False, f"10.2.0.21 is in use by card {MAC}"]
        assert host.ask("ask", 8080, address="10.2.0.77")["said"][0] is False
        assert "10.2.0.254" not in inside(host.host, "ip address"), "the host has no part in it"
        assert inside(host.host, "ip route") == ""
        (guest,) = host.guests
        assert inside(guest, "ping -c 1 -W 2 10.2.0.254 >/dev/null && echo gateway") == "gateway\n"
        inside(guest, "ip route add default via 10.2.0.254")
        assert inside(guest, "ping -c 1 -W 1 10.77.0.1 >/dev/null || echo nothing") == "nothing\n"
        assert host.host.stdin is not None
        host.host.stdin.close()
        assert host.host.stdout is not None
        left = json.loads(host.host.stdout.readline())
        assert [one for one in left if one.startswith("hsd0p")] == [], "it goes with its process"


@needs_root
@pytest.mark.parametrize("address", ["10.2.0.21", "10.2.0.254"])
def test_a_prober_that_hears_somebody_before_any_guest_runs_proves_nothing(address: str) -> None:
    with wired() as host:
        host.prober()
        host.guest(OTHER)
        found = host.ask("check", 8080, address=address)
        assert found["lies"] == f"{address} answers before its guest runs"


def test_a_prober_that_can_not_be_set_up_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(TryAgain, match="the prober cannot be set up: "):
        Prober("hsd0", [Wire("hsd0a", "", "10.2.0.254/24")], ovs=False)


@needs_root
def test_a_prober_that_stands_still_holds_up_no_drill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prober, "HEARD_S", 0.2)
    before = children()
    asked = Prober("hsd0", [], ovs=False)
    (mine,) = children() - before
    os.kill(mine, signal.SIGSTOP)
    question = Question("10.2.0.21", 8080, MAC)
    asked.check([question] * 50)
    assert asked.ask(question).answered is False
    assert asked.lies == "the prober is gone: its process does not answer within 0.2 s"
    asked.close()
    assert children() == before


@pytest.mark.parametrize(("address", "gateways", "why"), [
    ("", ["10.2.0.254/24"], "no card of it has an address in its spec"),
    ("10.3.0.1", ["10.2.0.254/24"], "no network that it is on declares a subnet with 10.3.0.1"),
    ("10.2.0.1", [], "no network that it is on declares a subnet with 10.2.0.1"),
])
def test_what_can_not_be_asked_is_named_with_the_reason(address: str, gateways: list[str],
                                                        why: str) -> None:
    calls = Calls.of({"tcp": 80, "ping": True}, address, MAC, gateways)
    assert (calls.questions, calls.lacking()) == ((), [])
    assert calls.said() == [f"port 80 and a ping was not asked: {why}"]
    assert Calls.of({"agent": True}, address, MAC, gateways).why_unasked == ""


def test_what_can_be_asked_is_the_guests_own_address_and_card() -> None:
    calls = Calls.of({"tcp": 80, "ping": True}, "10.2.0.1", MAC, ["10.9.0.1/24", "10.2.0.254/24"])
    assert calls.questions == (Question("10.2.0.1", 80, MAC), Question("10.2.0.1", 0, MAC))
    assert calls.without("no room").why_unasked == "no room"
