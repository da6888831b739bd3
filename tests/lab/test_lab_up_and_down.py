"""The lab comes up, a second time too, and leaves nothing behind, even if killed half-way."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ending import kill_all
from tests.lab.lab import Lab, wait_until, wait_until_empty

ASIDE = Path("/var/lib/hotsite-lab-aside")
IMAGES = "/var/lib/libvirt/images"


class Aside(Lab):
    """A second lab in namespaces of its own, in which not a process may be left."""

    def processes(self) -> list[str]:
        """Return what runs beside the holder and the asking command."""
        words = [*self.prefix, "ps", "-e", "-o", "pid=,comm="]
        text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        rows = [line.split(None, 1) for line in text.splitlines()]
        return [name for pid, name in rows if pid != "1" and name not in ("ps", "sleep")]

    def leaves_nothing_behind(self) -> None:
        """Hold that all of it goes, once what was ended has ended."""
        wait_until_empty(self.left_behind)

    def left_behind(self) -> list[str]:
        """Return every process, namespace, link, mount, loop and folder that is there."""
        def told(*words: str) -> list[str]:
            argv = [*self.prefix, *words]
            done = subprocess.run(argv, capture_output=True, text=True, check=True)
            return done.stdout.splitlines()

        links = [line.split(":")[1].strip() for line in told("ip", "-o", "link")]
        backing = Path("/sys/block").glob("loop*/loop/backing_file")
        return [
            *self.processes(),
            *told("ip", "netns", "list"),
            *(link for link in links if link != "lo" and not link.startswith("ifb")),
            *(line for line in told("cat", "/proc/self/mounts") if str(self.state) in line),
            *(f"{p}" for p in backing if p.read_text().startswith(str(self.state))),
            *(str(p) for p in self.state.glob("nodes/*")),
        ]


@pytest.fixture
def aside() -> Iterator[Aside]:
    """Hold empty network, mount and process namespaces open, and destroy all in them after."""
    script = (
        "mount -t tmpfs tmpfs /run && ip link set lo up && echo ready &&"
        " while :; do sleep 9 & wait; done"
    )
    holder = subprocess.Popen(
        ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child",
         "sh", "-c", script], stdout=subprocess.PIPE, text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "ready\n"
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
    yield Aside(ASIDE, ("nsenter", "-t", children[0], "-n", "-m", "-p", "--"))
    holder.kill()
    holder.wait()
    holder.stdout.close()
    wait_until("the end of the namespaces", lambda: not Path(f"/proc/{children[0]}").exists())
    subprocess.run(["rm", "-rf", "--one-file-system", str(ASIDE)], check=True)


def test_the_lab_comes_up_twice_and_leaves_nothing_behind(aside: Aside) -> None:
    aside.leaves_nothing_behind()
    aside.up()
    assert set(aside.nodes().values()) == {"on"}
    before = sorted(aside.processes())
    assert "already" in aside.up()
    assert sorted(aside.processes()) == before
    aside.down()
    aside.leaves_nothing_behind()
    aside.down()
    aside.leaves_nothing_behind()


def test_a_stranger_that_copies_its_mounts_holds_no_disk_of_the_lab(aside: Aside) -> None:
    aside.up()
    copied = "readlink /proc/self/ns/mnt; exec sleep infinity"
    with subprocess.Popen([*aside.prefix, "unshare", "--mount", "sh", "-c", copied],
                          stdout=subprocess.PIPE, text=True) as stranger:
        assert stranger.stdout is not None
        assert stranger.stdout.readline().startswith("mnt:")
        aside.down()
        aside.leaves_nothing_behind()
        aside.up()
        aside.down()
        stranger.kill()
    aside.leaves_nothing_behind()


@pytest.mark.parametrize("moment", [
    "keys/paris-1/id_ed25519",
    "nodes/paris-1/boot.log",
    "nodes/paris-2/ready",
])
def test_what_a_killed_up_leaves_is_cleared_by_the_next(aside: Aside, moment: str) -> None:
    upping = subprocess.Popen(aside.command("up"), env=aside.environment())
    wait_until(moment, (ASIDE / moment).exists)
    children = Path(f"/proc/{upping.pid}/task/{upping.pid}/children").read_text()
    kill_all(map(int, children.split()))
    upping.kill()
    upping.wait()
    aside.up()
    assert set(aside.nodes().values()) == {"on"}
    assert "10.77.0.21" in aside.exec("paris-1", "ping", "-c", "1", "-W", "2", "milan-1")
    aside.down()
    aside.leaves_nothing_behind()


def test_the_large_lab_comes_up(aside: Aside) -> None:
    aside.up("--hosts", "6")
    assert list(aside.nodes().values()) == ["on"] * 15
    aside.down()
    aside.leaves_nothing_behind()


def test_keys_stay_and_disks_stay_when_asked(aside: Aside) -> None:
    aside.up()
    known = (ASIDE / "known_hosts").read_text()
    aside.exec("paris-1", "touch", f"{IMAGES}/precious")
    aside.down("--keep")
    aside.up()
    assert "precious" in aside.exec("paris-1", "ls", IMAGES)
    aside.down()
    aside.up()
    assert (ASIDE / "known_hosts").read_text() == known
    assert aside.exec("paris-1", "ls", IMAGES) == ""
