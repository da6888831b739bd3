"""Promoted VMs come to life: what libvirt is asked, and how each one's failure is told apart."""

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from mover.backup.virsh import Unanswered, VirshError
from mover.failover import launch

from tests.mover.failover.promoting import definition
from tests.mover.transfers import ask

IDS = [f"5f0a64cb-6d15-4bb0-9d8a-00000000000{number}" for number in range(4)]
VIRSH = """#!{python}
import json, re, sys
from pathlib import Path
state = Path({state!r})
held = json.loads(state.read_text())
asked = re.split("; echo (@@[0-9a-f]+@@)(?:; )?", sys.argv[-1])
questions = [sys.argv[4:]] if len(asked) == 1 else [one.split() for one in asked[::2] if one]
marks = asked[1::2]
failed = 0
for words in questions:
    held["asked"].append(words[0])
    uuid, said = words[-1], ""
    if words[0] == "define":
        xml = Path(words[1]).read_text()
        uuid = re.search("<uuid>(.*?)</uuid>", xml)[1]
        if uuid in held["undefinable"]:
            sys.stderr.write("error: Failed to define domain from " + words[1] + "\\n")
        else:
            held["domains"][uuid] = xml
    elif words[0] == "dumpxml":
        said = held["domains"].get(uuid, "")
    elif words[0] == "checkpoint-list":
        said = "\\n".join(held["checkpoints"].get(uuid, []))
    elif words[0] == "checkpoint-delete":
        held["checkpoints"][words[2]].remove(words[3])
    elif words[0] == "start":
        held["forced"] = "--force-boot" in words
        if uuid in held["running"]:
            sys.stderr.write("error: Domain is already active\\n")
            failed = 1
        elif uuid in held["unstartable"]:
            sys.stderr.write("error: Failed to start domain 'x'\\nerror: unsupported machine\\n")
            failed = 1
        else:
            held["running"].append(uuid)
            held["paused"] += [uuid] if "--paused" in words else []
    elif words[0] == "resume" and uuid in held["stuck"]:
        sys.stderr.write("error: Failed to resume domain '" + uuid + "'\\n")
        failed = 1
    elif words[0] == "resume" and uuid in held["paused"]:
        held["paused"].remove(uuid)
    elif words[0] == "domstate":
        said = "paused" if uuid in held["paused"] else "running"
    sys.stdout.write(said + "\\n" + (marks.pop(0) if marks else "") + "\\n")
state.write_text(json.dumps(held))
sys.exit(failed)
"""


class Host:
    """A host whose libvirt is played."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **held: Any) -> None:
        self.folder, self.state = folder, folder / "state"
        self.state.write_text(json.dumps({
            "asked": [], "domains": {}, "checkpoints": {}, "running": [], "undefinable": [],
            "unstartable": [], "paused": [], "stuck": [], **held}))
        (folder / "bin").mkdir()
        for name, text in (("virsh", VIRSH.format(python=sys.executable, state=str(self.state))),
                           ("ovs-appctl", "#!/bin/sh\n")):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder / "bin"), prepend=":")

    def launched(self, *uuids: str, start: bool = True) -> list[dict[str, Any]]:
        """Ask for these VMs, one after the other on this host."""
        status, told = ask("launch", {"machines": [
            {"uuid": uuid, "epoch": 7, "xml": definition(uuid=uuid, epoch=7), "start": start,
             "width": 1} for uuid in uuids]}, self.folder)
        assert status == 0, told
        return list(told["machines"])

    @property
    def held(self) -> dict[str, Any]:
        """Return what libvirt holds, and what it was asked."""
        return dict(json.loads(self.state.read_text()))


def test_all_are_defined_by_one_virsh_and_started_from_their_disks(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, monkeypatch, checkpoints={IDS[0]: ["of-an-older-copy"]})
    assert host.launched(*IDS) == [{}, {}, {}, {}]
    held = host.held
    assert set(held["domains"]) == set(held["running"]) == set(IDS)
    assert held["forced"]
    assert held["paused"] == []
    assert held["asked"].count("start") == 4
    assert "start" not in held["asked"][held["asked"].index("resume"):], "one ran before the last"
    assert held["checkpoints"] == {IDS[0]: []}
    assert held["asked"].count("autostart") == 4
    assert max(held["asked"].index("dumpxml"), held["asked"].index("define")) < (
        held["asked"].index("start"))


def test_they_may_be_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, monkeypatch)
    assert host.launched(*IDS[:2], start=False) == [{}, {}]
    assert host.held["running"] == []
    assert host.launched(*IDS[:2]) == host.launched(*IDS[:2]) == [{}, {}]


def test_one_that_fails_holds_up_no_other_and_is_told(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, monkeypatch, undefinable=[IDS[0]], unstartable=[IDS[1]])
    told = host.launched(*IDS)
    assert "Failed to define" in told[0]["stderr"]
    assert "unsupported machine" in told[1]["stderr"]
    assert told[2:] == [{}, {}]
    assert host.held["running"] == IDS[2:]


def test_one_that_is_not_resume_is_told_and_the_others_run(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, monkeypatch, stuck=[IDS[1]])
    told = host.launched(*IDS)
    assert [bool(one) for one in told] == [False, True, False, False]
    assert f"Failed to resume domain '{IDS[1]}'" in told[1]["stderr"]
    assert host.held["paused"] == [IDS[1]]


def test_one_virsh_that_does_not_end_leaves_no_other_paused(
        monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def hangs(*questions: str) -> tuple[list[str], str]:
        raise Unanswered("libvirt did not answer within 60 s")

    def one(*words: str, patience_s: float) -> str:
        asked.append(words)
        if words == ("resume", "1"):
            raise Unanswered(f"libvirt did not answer within {patience_s:g} s")
        if words == ("resume", "0"):
            raise VirshError("Requested operation is not valid: domain is already running")
        return ""

    monkeypatch.setattr(launch, "answers", hangs)
    monkeypatch.setattr(launch, "virsh", one)
    monkeypatch.setattr(launch, "FLUSH", ("true",))
    told = launch.start(machines(3, 1))
    assert list(told) == ["1"]
    assert told["1"]["status"] > 128
    assert sorted(asked[3:]) == [("resume", name) for name in "012"]


def test_an_older_copy_is_never_started_in_its_place(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, monkeypatch, undefinable=IDS[:1],
                domains={IDS[0]: definition(uuid=IDS[0], epoch=6)})
    assert host.launched(IDS[0])[0]["stderr"]
    assert host.held["running"] == []


def test_a_silent_libvirt_starts_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, monkeypatch)
    (tmp_path / "bin/virsh").write_text(
        "#!/bin/sh\necho 'error: failed to connect to the hypervisor' >&2\nexit 1\n")
    assert ["failed to connect" in one["stderr"] for one in host.launched(*IDS)] == 4 * [True]


def machines(count: int, width: int) -> list[launch.Machine]:
    """Return so many VMs to start, so many at a time."""
    return [launch.Machine(str(number), 7, "", True, width) for number in range(count)]


def test_so_many_start_at_a_time_as_the_width_says(monkeypatch: pytest.MonkeyPatch) -> None:
    lock, now, most = threading.Lock(), 0, 0
    met = threading.Barrier(3, timeout=10)

    def starts(*words: str, patience_s: float) -> str:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        met.wait()
        with lock:
            now -= 1
        return ""

    monkeypatch.setattr(launch, "virsh", starts)
    monkeypatch.setattr(launch, "resume", lambda uuids: {})
    monkeypatch.setattr(launch, "FLUSH", ("true",))
    assert launch.start(machines(9, 3)) == {}
    assert most == 3


def test_one_that_hangs_is_unknown_and_those_after_it_are_not_begun_for_ever(
        monkeypatch: pytest.MonkeyPatch) -> None:
    passed = iter([0.0, 0.0, launch.ALL_S + 1, launch.ALL_S + 1])

    def hangs(*words: str, patience_s: float) -> str:
        raise Unanswered(f"libvirt did not answer within {patience_s:g} s")

    monkeypatch.setattr(launch, "virsh", hangs)
    monkeypatch.setattr(time, "monotonic", lambda: next(passed))
    monkeypatch.setattr(launch, "FLUSH", ("true",))
    told = launch.start(machines(3, 1))
    assert told["0"]["status"] > 128
    assert [told[name]["status"] for name in "12"] == [2, 2]


def test_what_virsh_wrote_is_passed_on_whole() -> None:
    error = VirshError("Failed to start; no such machine")
    error.said = "error: Failed to start\nerror: no such machine\n"
    assert launch.said_by(error) == {"status": 1, "stderr": error.said}
