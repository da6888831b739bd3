"""The controller is killed at random moments of an apply; the next run always converges."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.lab.hotsite import Hotsite
from tests.lab.lab import Lab
from tests.lab.witness import IMAGES, disk_of

KILLS = 100 if os.environ.get("SOAK") else 8
SEED = 20071122
HOSTS = {"kept": "paris-2", "made": "milan-2"}
UNDO = f"""virsh -q destroy kept; virsh -q undefine kept
virsh -q undefine made; rm -f {IMAGES}/made-vda.qcow2
ovs-vsctl set port up0 trunks=30,40,999"""
SIGN, READ = "write -P 0x5a 32M 1M", "read -P 0x5a 32M 1M"
DISK = f"{IMAGES}/kept-vda.qcow2"
LOG = "/var/log/libvirt/qemu/kept.log"
LOOK = f"virsh -q list --name; grep -c 'starting up' {LOG}"


@pytest.fixture
def hotsite(converged: Lab, tmp_path: Path) -> Iterator[Hotsite]:
    """Give specs of two hosts with two VMs: one whose disk outlives each round, one made anew.

    Nothing else is declared: to look at it each time would cost as much as all the kills.
    """
    assert converged.nodes()
    hotsite = Hotsite(tmp_path)
    base = hotsite.path("virtual_machine", "builder").read_text()
    for last, (vm, host) in enumerate(HOSTS.items(), start=51):
        spec = base.replace("name: builder", f"name: {vm}").replace("00:15}]", f"00:{last}}}]")
        hotsite.declare("virtual_machine", vm, spec.replace(
            "{site: milan}", f"{{host: {host}}}"))
    for path in (*hotsite.specs.glob("virtual_machine/*"), *hotsite.specs.glob("host/*"),
                 *hotsite.specs.glob("switch/*")):
        if path.stem not in (*HOSTS, *HOSTS.values()):
            path.unlink()
    hotsite.limit(quarantineRepairs=9999)
    hotsite.edit("virtual_machine", "made", "power: on", "power: off")
    undo(converged)
    converged.exec("paris-2", "rm", "-f", LOG, DISK)
    yield hotsite
    undo(converged)
    converged.exec("paris-2", "rm", DISK)
    Hotsite(tmp_path / "after").converge()


def undo(lab: Lab) -> None:
    """Take away what a round makes, by hand, on both hosts at once."""
    hands = [subprocess.Popen(lab.command("exec", host, "--", "sh", "-c", UNDO),
                              env=lab.environment(), stderr=subprocess.DEVNULL)
             for host in HOSTS.values()]
    assert [hand.wait() for hand in hands] == [0] * len(hands)


def kill_after(hotsite: Hotsite, delay_s: float) -> bool:
    """Begin an apply, kill it a while after its first step; say whether it had begun one."""
    command = hotsite.command("apply", str(hotsite.specs), "--yes")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        first = b""
        while not first.startswith((b"  ~ ", b"  + ")):
            first = process.stdout.readline()
            if not first:
                return False
        time.sleep(delay_s)
        process.kill()
        process.wait()
    return True


def test_every_run_after_a_kill_converges_and_does_nothing_twice(
        lab: Lab, hotsite: Hotsite) -> None:
    dice = Random(SEED)
    hotsite.converge()
    undo(lab)
    lab.exec("paris-2", "qemu-io", "-c", SIGN, DISK)
    inode, starts, struck = disk_of("paris-2", "kept").stat().st_ino, 1, 0
    for _ in range(2 * KILLS):
        if struck == KILLS:
            break
        undo(lab)
        struck += kill_after(hotsite, dice.uniform(0.0, 1.5))
        hotsite.converge()
        starts += 1
        *running, count = lab.exec("paris-2", "sh", "-c", LOOK).split()
        assert ("kept" in running, int(count)) == (True, starts), f"after kill {struck}"
        assert disk_of("milan-2", "made").exists()
    assert struck == KILLS
    assert hotsite.plan().status == 0
    undo(lab)
    assert disk_of("paris-2", "kept").stat().st_ino == inode
    assert "verification failed" not in lab.exec("paris-2", "qemu-io", "-r", "-c", READ, DISK)
    concluded = [one["intent"] for one in hotsite.events() if one["kind"] == "outcome"]
    assert len(concluded) == len(set(concluded))
