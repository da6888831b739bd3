"""The loop keeps one guest's replica fresh, heals it, and hands it over to an empty controller."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.lab.hotsite import Hotsite, Loop
from tests.lab.lab import STATE, Lab, wait_until
from tests.lab.replica.replication import tool
from tests.lab.witness import IMAGES, counts_on, disk_of, last_number

VM, HOME, FAR = "mail", "paris-2", ("milan-1", "milan-2")
TARGET = f"Replica/{VM}"
LOSE = f"""virsh -q undefine --checkpoints-metadata "$1"
virsh -q destroy "$1"; rm "{IMAGES}/$2\""""


@pytest.fixture(scope="module")
def hotsite(converged: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hotsite]:
    """Specs in which one guest is protected, with an RPO that a test can wait for."""
    hotsite = Hotsite(tmp_path_factory.mktemp("replica"))
    hotsite.pin(VM, HOME)
    hotsite.edit("virtual_machine", VM, "  power: on\n", "  power: on\n  protection: gold\n")
    hotsite.edit("protection_policy", "gold", "rpo: 5m", "rpo: 20s")
    hotsite.edit("protection_policy", "gold", "last: 12, hourly: 24, daily: 7", "last: 2")
    uuid = converged.virsh(HOME, "domuuid", VM).strip()
    yield hotsite
    for host in FAR:
        converged.exec(host, "rm", "-rf", f"{IMAGES}/hotsite-replicas/{uuid}", f"{IMAGES}/export")


@pytest.fixture(scope="module")
def loop(hotsite: Hotsite) -> Iterator[Loop]:
    """The loop, which has made the first copy."""
    with hotsite.running() as loop:
        assert "has nothing of it yet" in copied(loop, 0)["sentence"]
        yield loop


def copied(loop: Loop, since: int, *words: str) -> dict[str, Any]:
    """Wait for a copy whose outcome has these words."""
    return loop.wait_heard(
        f"a copy of {VM} that says {words}", lambda one: one["kind"] == "outcome"
        and one["target"] == TARGET and one["action_id"].startswith("replicate:")
        and one["outcome"] == "done" and all(word in one["sentence"] for word in words), since)


def overlays() -> list[Path]:
    """Return the overlays of the replica, oldest first."""
    return sorted(path for host in FAR for path in
                  STATE.glob(f"nodes/{host}/disk/images/hotsite-replicas/*/vda/rp-*.qcow2"))


def test_points_follow_each_other_and_old_ones_go(hotsite: Hotsite, loop: Loop) -> None:
    mark = loop.mark()
    copied(loop, mark, "changed")
    loop.wait_heard("an old point let go", lambda one: one["kind"] == "outcome"
                    and one["action_id"].startswith("retire-points:"), 0)
    shown = json.loads(hotsite.ask("replica", "show", VM, "--json").output)[0]
    assert shown["health"] == "sound"
    assert len(shown["points"]) <= 4
    wait_until("its freshness", lambda: "Fresh is true" in hotsite.ask("replica", "show",
                                                                       VM).output)


def test_a_deleted_overlay_is_noticed_named_and_healed(hotsite: Hotsite, loop: Loop) -> None:
    wait_until("two overlays", lambda: len(overlays()) >= 2)
    mark, lost = loop.mark(), overlays()[-2]
    lost.unlink()
    healed = copied(loop, mark, "a file of its replica is lost", "that differed")
    assert healed["sentence"].count("on the wire")
    told = loop.wait_heard("the loss is named", lambda one: one["kind"] == "condition"
                           and lost.name in one["sentence"], mark)
    assert "Verified is false" in told["sentence"]
    loop.wait_heard("all is well again", lambda one: one["kind"] == "condition"
                    and "Verified is true" in one["sentence"], mark)
    assert any(one["sentence"] == healed["sentence"] for one in hotsite.events())


def test_a_person_asks_the_running_loop_for_what_it_does_by_itself(
        hotsite: Hotsite, loop: Loop) -> None:
    assert loop.process.poll() is None
    for verb, words in (("copy", "made restore point"), ("verify", "verified"),
                        ("seed", "compared as a whole, as asked")):
        reply = hotsite.ask("replica", verb, VM)
        assert (reply.status, words in reply.output) == (0, True), (reply, verb)
    assert VM in hotsite.ask("replica", "list").output


def exported(lab: Lab, hotsite: Hotsite) -> Path:
    """Export the newest point and return its file, as this machine sees it."""
    host = json.loads(hotsite.ask("replica", "show", VM, "--json").output)[0]["host"]
    lab.exec(host, "mkdir", "-p", f"{IMAGES}/export")
    reply = hotsite.ask("replica", "export", VM, f"{IMAGES}/export", str(hotsite.specs))
    assert reply.status == 0, reply.output + reply.complaint
    file = next(word for word in reply.output.split() if word.endswith("-vda.qcow2"))
    return STATE / f"nodes/{host}/disk/images/export" / Path(file).name


def test_a_point_is_exported_while_the_loop_runs(lab: Lab, hotsite: Hotsite, loop: Loop) -> None:
    assert loop.process.poll() is None
    file = exported(lab, hotsite)
    assert "No errors were found" in tool("qemu-img", "check", file)
    assert "backing file" not in tool("qemu-img", "info", file)


DRILL = f"hotsite-drill-{VM}"


def works(hotsite: Hotsite) -> bool:
    """Return whether the loop is at work, or does not say."""
    status = hotsite.status()
    return status is None or status.heartbeat is None or bool(status.heartbeat["running"])


def drilling() -> list[str]:
    """Return all that there is of drills, on any host."""
    found = [f"{one} on {host}" for host in FAR for one in (
        *(name for name in Lab().running(host) if name.startswith("hotsite-drill-")),
        *(name for name in Lab().ovs(host, "list-br").split() if name.startswith("hsd")),
        *Lab().exec(host, "sh", "-c", "ls /run/libvirt/hotsite-drill 2>/dev/null || :").split())]
    return found + [str(path) for host in FAR for path in
                    STATE.glob(f"nodes/{host}/disk/images/hotsite-replicas/*/drill")]


def files() -> dict[Path, tuple[str, int, int]]:
    """Return the hash, mtime and ctime of every file that a point of the replica reads."""
    return {path: (sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns,
                   path.stat().st_ctime_ns) for host in FAR for path in
            STATE.glob(f"nodes/{host}/disk/images/hotsite-replicas/*/vda/*[0-9].*")}


def test_a_point_is_proven_to_boot_and_no_file_of_its_replica_changes(
        hotsite: Hotsite, loop: Loop) -> None:
    told = ("suspend", f"VirtualMachine/{VM}", "--for", "1h", "--why", "its files are compared")
    assert hotsite.ask(*told).status == 0
    wait_until("nothing is at work", lambda: not works(hotsite))
    before, mark = files(), loop.mark()
    reply = hotsite.ask("drill", VM, str(hotsite.specs))
    assert (reply.status, "is proven: it runs and reads of its disks" in reply.output) == (
        0, True), reply
    assert (files(), drilling()) == (before, [])
    loop.wait_heard("it is drilled", lambda one: one["kind"] == "condition"
                    and "Drilled is true" in one["sentence"], mark)
    assert hotsite.ask("resume", f"VirtualMachine/{VM}").status == 0


def test_a_drills_bridge_leads_nowhere_and_a_killed_controller_leaves_none(
        lab: Lab, hotsite: Hotsite, loop: Loop) -> None:
    with hotsite.edited("protection_policy", "gold", "spec:\n", "spec:\n  health: {boots: 5m}\n"):
        process = subprocess.Popen(hotsite.command("drill", VM, str(hotsite.specs)))
        wait_until("its guest runs", lambda: any(DRILL in lab.running(host) for host in FAR))
        [host] = [host for host in FAR if DRILL in lab.running(host)]
        [bridge] = [name for name in lab.ovs(host, "list-br").split() if name.startswith("hsd")]
        [port] = lab.ovs(host, "list-ports", bridge).split()
        assert port == lab.guest_port(host, DRILL), "its bridge leads nowhere"
        assert lab.ovs(host, "get", "bridge", bridge, "controller") == "[]"
        mark = loop.mark()
        assert copied(loop, mark, "changed"), "replication goes on"
        process.kill()
        process.wait()
        wait_until("nothing of it is left", lambda: drilling() == [])
    assert copied(loop, loop.mark())


def test_a_vm_that_its_host_has_lost_waits_for_its_disks_and_goes_on_with_them(
        lab: Lab, hotsite: Hotsite, loop: Loop) -> None:
    assert hotsite.ask("replica", "copy", VM).status == 0
    mark = loop.mark()
    told = ("suspend", f"VirtualMachine/{VM}", "--for", "1h", "--why", "its host is lost")
    assert hotsite.ask(*told).status == 0
    lab.exec(HOME, "sh", "-ec", LOSE, "sh", VM, disk_of(HOME, VM).name)
    assert hotsite.ask("resume", f"VirtualMachine/{VM}").status == 0
    sentence = loop.wait_heard("a person is waited for", lambda one: one["kind"] == "condition"
                               and "Stalled is true" in one["sentence"], mark)["sentence"]
    assert f"put the files as {VM}-vda.qcow2 into their pool on one host" in sentence
    file = exported(lab, hotsite)
    begun = [name for name in loop.actions(mark) if not name.startswith("replicate:")]
    assert begun == [], "it was not begun anew meanwhile"    # a copy may have been due before
    shutil.copy(file, disk_of(HOME, VM))
    last = last_number(HOME, VM)
    loop.wait_done(f"start:VirtualMachine/{VM}@{HOME}", mark)
    counts_on(HOME, VM, last)
    assert copied(loop, mark)["sentence"]
    loop.wait_settled()


def test_an_empty_controller_takes_over_without_sending_anything_again(
        hotsite: Hotsite, loop: Loop) -> None:
    loop.end()
    shutil.rmtree(hotsite.state)
    begun = (hotsite.state.parent / "run.log").stat().st_size
    with hotsite.running() as empty:
        assert "changed" in copied(empty, begun)["sentence"]
        assert not [one for one in empty.heard() if "has nothing of it yet" in one["sentence"]]
