"""The watch script on a host whose event programs are played, and what it leaves behind."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ending import kill_all

SCRIPT = (Path(__file__).parent.parent.parent.parent / "controller/remote/watch.py").read_text()
EAGER = SCRIPT.replace("RETRY_S = (1.0, 30.0)", "RETRY_S = (0.01, 0.05)").replace(
    "STEADY_S = 5.0", "STEADY_S = 0.0").replace("FOLDERS_S = 0.5", "FOLDERS_S = 0.01")
SPEAKS = """#!/bin/sh
echo $$ >>{folder}/pids
while read -r line; do echo "$line"; done <{folder}/{pipe}
"""


class WatchedHost:
    """A host where a test speaks for virsh and ovsdb-client."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for program, pipe in (("virsh", "libvirt"), ("ovsdb-client", "ovs")):
            (folder / program).write_text(SPEAKS.format(folder=folder, pipe=pipe))
            (folder / program).chmod(0o755)
        os.mkfifo(folder / "libvirt")
        os.mkfifo(folder / "ovs")
        (folder / "definitions").mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c",
             EAGER.replace("/etc/libvirt/qemu", str(folder / "definitions"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PATH": f"{folder}:/bin"})

    def next_line(self) -> str:
        """Wait for the next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def say(self, pipe: str, text: str) -> int:
        """Speak as a program, and return what must be closed to end it."""
        writer = os.open(self.folder / pipe, os.O_WRONLY)
        os.write(writer, text.encode())
        return writer

    def running(self) -> set[int]:
        """Return the played programs that still run."""
        pids = self.folder / "pids"
        found = map(int, pids.read_text().split()) if pids.exists() else ()
        return {pid for pid in found if Path(f"/proc/{pid}/cmdline").exists()}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[WatchedHost]:
    """A watched host."""
    host = WatchedHost(tmp_path)
    yield host
    host.process.kill()
    with host.process:
        assert host.process.wait(10) is not None
    kill_all(host.running())


def test_it_speaks_once_when_the_line_is_up(host: WatchedHost) -> None:
    assert host.next_line() == "changed\n"


def test_an_event_of_libvirt_is_told_without_its_content(host: WatchedHost) -> None:
    host.next_line()
    writer = host.say("libvirt", "event 'lifecycle' for domain 'sql': Stopped Failed\n")
    assert host.next_line() == "changed\n"
    os.close(writer)


def test_many_events_at_once_are_told_few_times(host: WatchedHost) -> None:
    host.next_line()
    writer = host.say("libvirt", "event 'lifecycle' for domain 'sql': Started Booted\n" * 200)
    assert host.next_line() == "changed\n"
    os.close(writer)
    rest, _ = host.process.communicate()
    assert len(rest.splitlines()) < 10


def test_a_definition_that_was_written_is_news_though_libvirt_says_nothing(
        host: WatchedHost) -> None:
    host.next_line()
    (host.folder / "definitions/sql.xml.new").touch()
    assert host.next_line() == "changed\n"


def test_a_daemon_that_hangs_up_is_news_and_is_listened_to_again(host: WatchedHost) -> None:
    host.next_line()
    os.close(host.say("libvirt", ""))
    assert host.next_line() == "changed\n"
    writer = host.say("libvirt", "event 'lifecycle' for domain 'sql': Started Booted\n")
    assert host.next_line() == "changed\n"
    os.close(writer)


def test_it_takes_its_programs_along_when_nobody_listens(host: WatchedHost) -> None:
    host.next_line()
    while len(host.running()) < 4:
        assert host.process.poll() is None
    assert host.process.stdin is not None
    host.process.stdin.close()
    assert host.process.wait(10) == 0
    while host.running():
        assert host.process.returncode == 0
