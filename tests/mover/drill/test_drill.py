"""A restore point is started beside its replica, judged and taken away, whatever is cut off."""

import os
import shutil
import signal
import tempfile
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mover.drill.remains import drill_uuid, take_away_stubbornly
from mover.processes import movers_at
from mover.replica.replica import Replica

from tests.mover.disks import needs_qemu
from tests.mover.drill.drilling import AGENT, DRILL, OTHER, Host, end
from tests.mover.failover.promoting import UUID, definition
from tests.mover.replica.test_remove import asked
from tests.mover.replicas import identical
from tests.mover.transfers import assert_every_point_reads_as_its_disk

pytestmark = needs_qemu


@pytest.fixture(name="host")
def host_fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host with a replica of three points, in a folder whose sockets have short names."""
    with tempfile.TemporaryDirectory(prefix="drill") as folder:
        found = Host(Path(folder), monkeypatch)
        yield found
        for process in found.begun:
            if process.stdin is not None and not process.stdin.closed:
                end(process)


def waited(until: Callable[[], bool]) -> bool:
    """Wait until something is so; the limit is a bound."""
    pause = threading.Event()
    for _ in range(600):
        if until():
            return True
        pause.wait(0.05)
    return until()


def test_a_point_is_proven_and_no_file_of_its_replica_changes(host: Host) -> None:
    before = host.files()
    told = host.drill()
    assert (told["outcome"], told["sequence"], told["machine"]) == ("proven", 3, "sql")
    assert told["sentence"] == "it runs and reads of its disks"
    assert told["boot_s"] >= 0
    assert told["health_s"] >= told["boot_s"]
    assert told["grown_bytes"] > 0
    assert host.files() == before
    assert host.left() == []
    for number, disk in enumerate(("vda", "vdb")):     # what the guest read was the point
        assert identical(host.folder / f"seen-{number}.raw", host.machine.flats[3, disk])
    assert_every_point_reads_as_its_disk(host.machine)
    (noted,) = Replica(str(host.root)).state.facts["drills"]
    assert {**noted} == {name: value for name, value in told.items() if name != "stays"}


def test_it_can_not_be_mistaken_for_the_vm_and_names_no_file_of_the_replica(host: Host) -> None:
    host.pool.define(3, definition(more="<serial type='file'><source path='/paris/log'/></serial>"))
    process = host.begin(health={"boots_s": 600}, limit_s=600)
    host.started(process)
    domain = host.definition()
    assert (domain.findtext("name"), domain.findtext("uuid")) == ("hotsite-drill-sql", DRILL)
    mark = domain.find("metadata/{https://hotsite.invalid/domain/1}vm")
    assert mark is not None
    assert (mark.get("role"), mark.get("name"), mark.get("uuid"), mark.get("epoch")) == (
        "drill", "hotsite-drill-sql", DRILL, None)
    bridge = domain.find("devices/interface/source")
    assert bridge is not None
    assert bridge.get("bridge", "").startswith("hsd")
    named = [one.get("file") for one in domain.iter("source") if one.get("file")]
    assert named == [f"{host.root}/drill/vda.qcow2", f"{host.root}/drill/vdb.qcow2"]
    serial = domain.find("devices/serial")
    assert serial is not None
    assert (serial.get("type"), list(serial)) == ("pty", [])
    end(process)
    assert waited(lambda: host.left() == [])


def test_a_guest_that_says_nothing_is_not_proven(host: Host) -> None:
    host.pool.define(3, definition(more=AGENT))
    told = host.drill(health={"agent": True}, limit_s=1)
    assert told["outcome"] == "unproven"
    assert told["sentence"].startswith("its guest agent does not answer; it was waited for")
    assert told["health_s"] is None
    host.plays(agent=True)
    assert host.drill(health={"agent": True})["sentence"] == "its guest agent answers"
    assert host.left() == []


@pytest.mark.parametrize(("plays", "outcome", "words"), [
    ({"create": "unsupported machine type"}, "failed", "unsupported machine type"),
    ({"state": "paused"}, "unhealthy", "it is paused"),
    ({"reads": 0}, "unproven", "it has not read of its disks"),
])
def test_a_point_that_does_not_boot_is_told_truly(host: Host, plays: dict[str, object],
                                                  outcome: str, words: str) -> None:
    before = host.files()
    host.plays(**plays)
    told = host.drill(limit_s=1.5)
    assert told["outcome"] == outcome
    assert words in told["sentence"]
    assert (host.files(), host.left()) == (before, [])
    assert Replica(str(host.root)).state.facts["drills"][-1]["outcome"] == outcome


def test_a_guest_that_ends_by_itself_is_unhealthy(host: Host) -> None:
    process = host.begin(health={"boots_s": 600}, limit_s=600)
    host.started(process)
    (host.folder / "domain.xml").unlink()
    assert process.stdout is not None
    assert b"it ended by itself" in process.stdout.read()
    end(process)
    assert host.left() == []


def test_a_guest_that_writes_too_much_is_cut_off(host: Host) -> None:
    told = host.drill(health={"boots_s": 600}, limit_s=600, grow_bytes=1)
    assert told["outcome"] == "cut off"
    assert "is the limit" in told["sentence"]
    assert host.left() == []


def test_a_guest_that_is_proven_and_waits_for_its_group_may_not_fill_the_pool_either(
        host: Host) -> None:
    other = host.another(definition(uuid=OTHER))
    process = host.begin(others=[{**other, "health": {"boots_s": 600}}], limit_s=600,
                         grow_bytes=8 << 20)
    host.started(process)
    host.started(process)

    def is_proven() -> bool:    # the other one alone is still looked at
        last = (host.folder / "asked").read_text().splitlines()[-8:]
        return len(last) == 8 and not any(DRILL in line for line in last)

    assert waited(is_proven)
    with (host.root / "drill/vda.qcow2").open("ab") as overlay:
        overlay.write(os.urandom(9 << 20))
    assert waited(lambda: not (host.folder / "domain.xml").exists())
    end(process)
    assert waited(lambda: host.left() == [])
    noted = Replica(str(host.root)).state.facts["drills"][-1]
    assert noted["outcome"] == "proven"
    assert "; it was ended after that: it has written 9 MiB" in noted["sentence"]
    (noted,) = Replica(other["replica"]).state.facts["drills"]
    assert noted["sentence"] == "the controller went away in the middle of it"


def test_a_controller_that_goes_away_ends_its_drill(host: Host) -> None:
    before = host.files()
    process = host.begin(health={"boots_s": 600}, limit_s=600)
    host.started(process)
    end(process)
    assert (host.files(), host.left()) == (before, [])
    assert Replica(str(host.root)).state.facts["drills"][-1]["sentence"] == (
        "the controller went away in the middle of it")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_watchdog_takes_all_away_when_the_conductor_dies(host: Host, number: int) -> None:
    before = host.files()
    process = host.begin(health={"boots_s": 600}, limit_s=600)
    host.started(process)
    assert "pin drill" in host.left()
    os.kill(process.pid, number)
    process.wait()
    assert waited(lambda: host.left() == [])
    assert host.files() == before


def test_two_drills_of_one_replica_do_not_meet(host: Host) -> None:
    process = host.begin(health={"boots_s": 600}, limit_s=600)
    host.started(process)
    assert host.drill()["sentence"] == "a drill of this replica goes on already"
    assert "domain.xml" in host.left()
    end(process)
    assert host.left() == []


def test_copies_go_on_and_the_point_stays_meanwhile(host: Host) -> None:
    process = host.begin(health={"boots_s": 600}, limit_s=600)
    host.started(process)
    host.machine.cycle(4)
    status, told = asked(host.machine, "retire", sequences=[1, 2])
    assert status == 1
    assert "(qemu-nbd), which has it open" in told["sentence"]
    end(process)
    assert host.left() == []
    assert asked(host.machine, "retire", sequences=[1, 2])[0] == 0
    assert_every_point_reads_as_its_disk(host.machine)


def test_a_promotion_ends_the_drill_first(host: Host) -> None:
    process = host.begin(health={"boots_s": 600}, limit_s=600)
    host.started(process)
    host.plays()
    assert "promoted" in host.pool.promote()
    assert waited(lambda: host.left() == ["pin failover-7"])
    told = host.drill()
    assert told["outcome"] == "cut off", "it says nothing of the point"
    assert told["sentence"] == "the replica has become the VM: it is not drilled"


@pytest.mark.parametrize(("more", "words"), [
    ({"memory_bytes": 1 << 60}, "no room: the drill wants"),
    ({"uuid": DRILL}, f"not of {DRILL}"),
])
def test_what_can_not_be_drilled_says_why(host: Host, more: dict[str, object],
                                          words: str) -> None:
    before = host.files()
    assert words in host.drill(**more)["sentence"]
    assert (host.files(), host.left()) == (before, [])


def test_a_point_that_was_let_go_meanwhile_is_not_called_bad(host: Host) -> None:
    told = host.drill(sequence=9)
    assert (told["outcome"], host.left()) == ("cut off", [])
    assert told["sentence"].startswith("there is no restore point 9")


def test_a_drill_ends_with_a_replica_that_somebody_removes_meanwhile(host: Host) -> None:
    process = host.begin(health={"boots_s": 600}, limit_s=600)
    host.started(process)
    named = host.root.with_name(UUID)
    host.root.rename(named)
    shutil.rmtree(named)
    assert take_away_stubbornly([str(named)], {}, until_s=0) == {}
    assert not (host.folder / "domain.xml").exists()


@pytest.mark.parametrize(("health", "outcome"), [
    ({"tcp": 80}, "booted"), ({"ping": True}, "booted"), ({"agent": True, "tcp": 80}, "booted"),
    ({"agent": True}, "proven")])
def test_what_nobody_asked_is_not_called_proven(
        host: Host, health: dict[str, object], outcome: str) -> None:
    host.plays(agent=True)
    told = host.drill(health=health)
    assert told["outcome"] == outcome
    assert ("was not asked" in told["sentence"]) == (outcome == "booted")


def test_what_a_crash_of_everything_left_is_taken_away_by_the_next_drill(host: Host) -> None:
    process = host.begin(health={"boots_s": 600}, limit_s=600)
    host.started(process)
    (watchdog,) = {*movers_at(str(host.run / f"drill-{host.root.name}.lock"))} - {process.pid}
    os.kill(watchdog, signal.SIGKILL)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert "domain.xml" in host.left()
    assert host.drill()["outcome"] == "proven"
    assert host.left() == []


def card(tag: int) -> str:
    """Return a card of a VLAN."""
    return (f"<interface type='bridge'><mac address='52:54:00:0a:00:{tag:02x}'/>"
            f"<source bridge='br0'/><vlan><tag id='{tag}'/></vlan></interface>")


def bridges_of_cards(domain: ET.Element) -> dict[str, str]:
    """Return the bridge of each card."""
    return {one.findall("mac")[0].get("address", ""): one.findall("source")[0].get("bridge", "")
            for one in domain.iterfind("devices/interface")}


def test_a_group_is_started_together_on_one_network_and_each_is_judged(host: Host) -> None:
    host.pool.define(3, definition(more=card(7) + AGENT))
    other = host.another(definition(uuid=OTHER, more=card(8) + card(7)))
    before = host.files()
    process = host.begin(others=[{**other, "health": {"boots_s": 600}}], limit_s=600)
    host.started(process)
    host.started(process)
    ours, theirs = (bridges_of_cards(host.definition(drill_uuid(one))) for one in (UUID, OTHER))
    assert ours["52:54:00:0a:00:07"] == theirs["52:54:00:0a:00:07"], "they share a VLAN"
    end(process)
    assert waited(lambda: host.left() == [])
    assert host.files() == before
    first, second = host.drill_all(others=[other])["drilled"]
    assert [(one["machine"], one["outcome"], one["with"]) for one in (first, second)] == [
        ("sql", "proven", ["web"]), ("web", "proven", ["sql"])]
    assert host.left() == []


def test_one_of_a_group_that_can_not_be_started_is_told_of_and_the_rest_is_judged(
        host: Host) -> None:
    other = host.another("<domain>")
    first, second = host.drill_all(others=[other])["drilled"]
    assert (first["outcome"], second["outcome"]) == ("proven", "failed")
    assert host.left() == []


@pytest.mark.parametrize(("absent", "outcome"), [
    ("", "unproven"), ("db, whose replica is on milan-2", "booted")])
def test_a_vm_that_misses_its_group_is_not_called_broken_for_that(
        host: Host, absent: str, outcome: str) -> None:
    host.pool.define(3, definition(more=AGENT))
    told = host.drill(health={"agent": True}, limit_s=4, absent=absent)
    assert told["outcome"] == outcome
    assert ("without " + absent in told["sentence"]) == bool(absent)
    host.plays(reads=0)
    assert host.drill(health={"agent": True}, limit_s=2, absent=absent)["outcome"] == "unproven"


VIDEO = "<video><model type='virtio'/></video>"


def test_what_a_guest_showed_is_kept_for_root_alone_and_the_oldest_goes(host: Host) -> None:
    host.pool.define(3, definition(more=VIDEO))
    host.plays(screen="\x89PNG as it is")
    (host.root / "_screens").mkdir()
    for number in range(1, 6):
        (host.root / f"_screens/{number:06d}-point-2.png").write_bytes(b"")
    told = host.drill(health={"boots_s": 0.1})
    assert told["screen"] == f"{host.root}/_screens/000006-point-3.png"
    assert Path(told["screen"]).stat().st_mode & 0o777 == 0o600
    assert sorted(one.name[:6] for one in (host.root / "_screens").iterdir()) == [
        "000003", "000004", "000005", "000006"]
    assert host.left() == []
    assert_every_point_reads_as_its_disk(host.machine)


@pytest.mark.parametrize(("video", "screen", "said"), [
    (VIDEO, None, [
        "a screenshot (no screen)"]), (VIDEO, "no image", [
        "a screenshot (it is no image)"]), ("", None, []),
    ("<video><model type='none'/></video>", None, [])])
def test_a_screen_that_can_not_be_seen_proves_nothing_else(
        host: Host, video: str, screen: str | None, said: list[str]) -> None:
    host.pool.define(3, definition(more=video))
    host.plays(screen=screen)
    told = host.drill(health={"boots_s": 0.1})
    assert told["outcome"] == "proven"
    assert "screen" not in told
    assert [one[:len(word)] for one, word in zip(told["left_out"], said, strict=True)] == said
    assert not (host.root / "_screens/.part").exists()


def test_what_a_crash_of_the_host_left_is_swept_up_and_what_goes_on_is_not(host: Host) -> None:
    store = host.root.parent
    root = host.root.rename(store / UUID)
    host.root = host.machine.root = root
    process = host.begin(health={"boots_s": 600}, limit_s=600)
    host.started(process)
    asked_for = {"leftovers": [["drill", str(root)]]}
    _, told = asked(host.machine, "sweep", **asked_for)
    assert told["kept"] == {str(root): "a drill of this replica goes on already"}
    (watchdog,) = {*movers_at(str(host.run / f"drill-{root.name}.lock"))} - {process.pid}
    os.kill(watchdog, signal.SIGKILL)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (host.folder / "domain.xml").unlink()       # the host has booted: no guest runs any more
    assert {"pin drill", "drill"} <= set(host.left())
    _, told = asked(host.machine, "sweep", **asked_for)
    assert (told["removed"], told["kept"], host.left()) == ([str(root)], {}, [])
    _, told = asked(host.machine, "sweep", leftovers=[["drill", str(host.folder)]])
    assert told["kept"] == {str(host.folder): "it is no replica"}
