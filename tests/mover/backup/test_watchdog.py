"""No backup job runs without a watchdog, whenever libvirt begins it; libvirt is played."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mover.backup import backup_job, conductor, offline, scratch, virsh, watchdog
from mover.backup.backup_job import Job
from mover.errors import TryAgain

from tests.waiting import wait_until

UUID = "ac919846-041c-5282-aa02-f968f5a26f2d"
VIRSH = '''#!{python} -S
import os, subprocess, sys, time

os.chdir({folder!r})
JOB = """<domainbackup>
<server transport='unix' socket='{folder}/domain-4-sql/hotsite.sock'/></domainbackup>"""
XML = """<domain id='4'><name>sql</name><devices><disk type='file' device='disk'>
<driver type='raw'/><source file='{folder}/a.raw'/><target dev='vda'/></disk></devices></domain>"""


def say(text):
    sys.stdout.write(text + "\\n")


def play(name, *words):
    open("calls", "a").write(name + "\\n")
    if name == "echo":
        say(words[0])
    elif name == "domstate":
        say("running (booted)")
    elif name == "dumpxml":
        say(XML)
    elif name == "checkpoint-list" and os.path.exists("old"):
        say("hotsite-000001")
    elif name == "checkpoint-delete":
        time.sleep(1.5)
        os.path.exists("old") and os.unlink("old")
    elif name == "backup-begin":
        steps = open("steps").read() if os.path.exists("steps") else "touch begun"
        subprocess.Popen(["sh", "-c", steps], start_new_session=True).wait()
    elif name == "backup-dumpxml":
        if os.path.exists("begun"):
            say(JOB)
        else:
            sys.stderr.write("error: no domain backup job present\\n")
    elif name == "domjobinfo":
        at_work = os.path.exists("begun") or os.path.exists("preparing")
        say("Job type: Unbounded\\nOperation: Backup" if at_work else "Job type: None")
    elif name == "domjobabort":
        os.unlink("begun")


for command in [sys.argv[4:]] if len(sys.argv) > 5 else map(str.split, sys.argv[4].split("; ")):
    play(*command)
    sys.stdout.flush()
'''


class Libvirt:
    """What the played libvirt does, and what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.job = Job(UUID, f"{folder}/domain-4-sql/hotsite.sock",
                       [str(folder / f"hotsite-scratch/{UUID}-vda.qcow2")])

    def begins_by(self, steps: str) -> None:
        """Let libvirt begin jobs in these steps of shell, whatever becomes of who asked."""
        (self.folder / "steps").write_text(steps)

    def calls(self, name: str) -> int:
        """Say how often a command was given."""
        calls = self.folder / "calls"
        return calls.read_text().splitlines().count(name) if calls.exists() else 0

    def runs(self) -> bool:
        """Say whether the job runs."""
        return (self.folder / "begun").exists()

    def copy(self, limit_s: float = 60, scratch_bytes: int = 1 << 30) -> conductor.LiveCopy:
        """Open a copy of its running domain."""
        return conductor.LiveCopy(virsh.inspect(UUID), conductor.CopyRequest(
            {"vda": "full"}, limit_s=limit_s, scratch_bytes=scratch_bytes))


@pytest.fixture
def libvirt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Libvirt:
    """One domain that runs and that nobody is at work on."""
    (tmp_path / "virsh").write_text(VIRSH.format(folder=str(tmp_path), python=sys.executable))
    (tmp_path / "virsh").chmod(0o755)
    (tmp_path / "a.raw").write_bytes(b"x")
    (tmp_path / "domain-4-sql").mkdir()
    (tmp_path / "hotsite-scratch").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(backup_job, "QEMU", str(tmp_path))
    monkeypatch.setattr(watchdog, "LOOK_S", 0.1)
    for module in (conductor, offline, scratch):    # a watchdog of a test before holds its claim
        monkeypatch.setattr(module, "FOLDER", str(tmp_path / "run"))
    return Libvirt(tmp_path)


def test_a_job_that_libvirt_prepares_is_neither_there_nor_gone(libvirt: Libvirt) -> None:
    assert virsh.job_of(UUID) == ""
    (libvirt.folder / "preparing").touch()
    with pytest.raises(virsh.VirshError, match="beginning"):
        virsh.job_of(UUID)
    (libvirt.folder / "begun").touch()
    assert virsh.socket_of(virsh.job_of(UUID)) == libvirt.job.socket


def test_a_job_that_begins_after_it_was_to_end_is_ended(libvirt: Libvirt) -> None:
    (libvirt.folder / "preparing").touch()
    one = watchdog.Watchdog(libvirt.job, watchdog.JobLimits(60, 1 << 30))
    one.tell("end")
    time.sleep(0.5)
    (libvirt.folder / "begun").touch()
    (libvirt.folder / "preparing").unlink()
    assert one.ended() == {"reason": "asked", "was": "ended", "incident": ""}
    assert not libvirt.runs()


def test_a_job_that_begins_after_the_end_of_who_asked_for_it_is_ended(libvirt: Libvirt) -> None:
    libvirt.begins_by("sleep 1.5; touch begun")
    one = watchdog.Watchdog(libvirt.job, watchdog.JobLimits(60, 1 << 30))
    with subprocess.Popen(["virsh", "-q", "-c", "qemu:///system", "backup-begin", UUID, "/x"]):
        one.leave()
    wait_until(lambda: libvirt.calls("domjobabort") > 0)
    assert not libvirt.runs()


def test_a_job_that_libvirt_does_not_begin_in_time_is_ended_once_it_has(
        libvirt: Libvirt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_job, "BEGIN_S", 0.5)
    libvirt.begins_by("until [ -e now ]; do sleep 0.1; done;"
                      " touch preparing; sleep 1; touch begun; rm preparing")
    with pytest.raises(TryAgain, match="is ended at once"):
        libvirt.copy()
    assert not libvirt.runs(), "it was not waited for"
    (libvirt.folder / "now").touch()
    wait_until(lambda: libvirt.calls("domjobabort") > 0)
    assert not libvirt.runs()


def test_the_scratch_of_a_job_before_counts_for_nothing(
        libvirt: Libvirt, monkeypatch: pytest.MonkeyPatch) -> None:
    (scratch,) = map(Path, libvirt.job.scratch)
    scratch.write_bytes(os.urandom(2 << 20))
    (libvirt.folder / "old").touch()
    monkeypatch.setattr(conductor, "_measured", lambda begun, wanted, **_: {})
    copy = libvirt.copy(scratch_bytes=1 << 20)
    assert libvirt.runs()
    assert copy.end()["was"] == "ended"
    assert not libvirt.runs()


def test_a_job_that_begins_when_its_time_is_up_is_ended(libvirt: Libvirt) -> None:
    (libvirt.folder / "old").touch()
    with pytest.raises(TryAgain, match="longer than the copy may last"):
        libvirt.copy(limit_s=1.0)
    assert libvirt.calls("backup-begin") == 1
    assert libvirt.calls("domjobabort") == 1
    assert not libvirt.runs()
