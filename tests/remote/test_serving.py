"""What a host finds out of guests, asked by real sockets, and by a played virsh."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from controller.model.failover.serving import Answer, ServingFacts, Word
from controller.providers.linux.facts import parse_serving

serving = import_module("guests.serving")

HERE = "127.0.0.1"
CARD = "52:54:00:02:00:15"
NEIGHBOURS = """IP address       HW type     Flags       HW address            Mask     Device
{0}        0x1         0x{1}         {2}     *        up0
"""
VIRSH = f"""#!{sys.executable} -S
import sys
say, complain = sys.stdout.write, sys.stderr.write
with open({{log!r}}, "a") as file:
    file.write(sys.argv[-1].split()[0] + "\\n")
if "domstats" in sys.argv:
    say("Domain: 'sql'\\n  block.count=1\\n  block.0.rd.reqs=12\\n\\n")
    say("Domain: 'web'\\n  block.count=2\\n  block.0.rd.reqs=0\\n  block.1.rd.reqs=0\\n\\n")
for part in sys.argv[-1].split("; "):
    if part.startswith("echo "):
        say(part[5:] + "\\n")
    elif part.startswith("qemu-agent-command ") and "-good-" in part:
        say('{{{{"return":{{{{}}}}}}}}\\n')
    elif part.startswith("qemu-agent-command "):
        complain("error: Guest agent is not responding: QEMU guest agent is not connected\\n")
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that listens on this machine, and accepts nothing by itself."""
    with socket.create_server((HERE, 0)) as sock:
        yield sock


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of a played virsh."""
    virsh, log = tmp_path / "virsh", tmp_path / "calls"
    virsh.write_text(VIRSH.format(log=str(log)))
    virsh.chmod(0o755)
    monkeypatch.setattr(serving, "VIRSH", (str(virsh),))
    return log


@pytest.fixture
def neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The neighbour table of this machine, empty."""
    table = tmp_path / "arp"
    table.write_text(NEIGHBOURS.partition("{")[0])
    monkeypatch.setattr(serving, "ARP", str(table))
    return table


def asked(**more: Any) -> dict[str, Any]:
    """A guest that is asked at this machine's own address."""
    return {"uuid": "u", "address": HERE, "mac": CARD, **more}


def found(*guests: dict[str, Any]) -> dict[str, ServingFacts]:
    """What the controller understands of the answer."""
    return dict(parse_serving(serving.Serving().text(list(guests))))


def test_an_open_port_answers_and_a_closed_one_denies(listener: socket.socket,
                                                      neighbours: Path) -> None:
    port = listener.getsockname()[1]
    assert found(asked(tcp=port))["u"].tcp == Answer(Word.ANSWERS, "through a router")
    listener.close()
    assert found(asked(tcp=port))["u"].tcp == Answer(Word.DENIES, "the connection is refused")


def test_a_port_that_says_nothing_is_silent_and_not_closed(
        listener: socket.socket, neighbours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "ASK_S", 0.2)
    listener.listen(0)
    port = listener.getsockname()[1]
    waiting = []
    for _ in range(4):      # the kernel takes no more once its queue is full
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex((HERE, port))
        waiting.append(one)
    answer = found(asked(tcp=port))["u"].tcp
    for one in waiting:
        one.close()
    assert answer == Answer(Word.SILENT, "no answer within 0.2 s")


def test_a_ping_is_answered_or_may_not_be_sent() -> None:
    assert serving.ping(HERE)[0] in ({"answers"} if os.getuid() == 0 else {"answers", "untried"})


def test_an_answer_by_another_card_denies(listener: socket.socket, neighbours: Path) -> None:
    port = listener.getsockname()[1]
    neighbours.write_text(NEIGHBOURS.format(HERE, 2, "52:54:00:99:99:99"))
    answer = found(asked(tcp=port))["u"].tcp
    assert answer == Answer(Word.DENIES, f"{HERE} is in use by another card, 52:54:00:99:99:99")
    neighbours.write_text(NEIGHBOURS.format(HERE, 2, CARD))
    assert found(asked(tcp=port))["u"].tcp == Answer(Word.ANSWERS, "")
    neighbours.write_text(NEIGHBOURS.format(HERE, 0, "00:00:00:00:00:00"))   # not resolved
    assert found(asked(tcp=port))["u"].tcp == Answer(Word.ANSWERS, "through a router")


def test_agents_that_answer_share_a_virsh_and_a_silent_one_holds_up_none(calls: Path) -> None:
    ask = serving.Serving()
    guests = [{"uuid": one, "name": one, "agent": True} for one in ("a-good-1", "a-good-2", "bad")]
    for virshes in (3, 2):
        calls.unlink(missing_ok=True)
        told = parse_serving(ask.text(guests))
        assert told["a-good-1"].agent == told["a-good-2"].agent == Answer(Word.ANSWERS, "")
        assert told["bad"].agent == Answer(Word.SILENT, "no agent has opened its channel")
        assert len(calls.read_text().split()) == virshes


def test_what_was_read_of_disks_is_told_by_guest(calls: Path) -> None:
    told = found({"uuid": "s", "name": "sql", "reads": True},
                 {"uuid": "w", "name": "web", "reads": True},
                 {"uuid": "g", "name": "gone", "reads": True})
    assert [told[one].reads for one in "swg"] == [True, False, None]


def test_a_process_has_one_beginning_however_often_one_looks(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "PIDS", str(tmp_path))
    (tmp_path / "sql.pid").write_text(f"{os.getpid()}\n")
    ask, guest = serving.Serving(), [{"uuid": "u", "name": "sql"}]
    first = ask.text(guest)
    monkeypatch.setattr(serving.time, "time", lambda: 0.0)
    assert ask.text(guest) == first
    assert json.loads(first)["u"]["began_at"] > 0
    (tmp_path / "sql.pid").unlink()
    assert parse_serving(ask.text(guest))["u"].began_at is None


def test_nothing_is_asked_of_nobody(calls: Path) -> None:
    assert serving.Serving().text([]) == "{}"
    assert not calls.exists()
