"""A poll reports as leftovers only what is surely ours and used by nobody."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller.model.replica import Leftover, LeftoverKind
from controller.providers.linux.replica import parse_leftovers
from tests.providers.linux.conftest import PlayedHost

RUNNING = 1         # of the recorded domains
JOB = """<domainbackup mode='pull'>
  <server transport='unix' socket='{socket}'/>
  <disks>
    <disk name='vda' backup='yes' type='file' backupmode='full' exportname='vda' index='2'>
      <driver type='qcow2'/>
      <scratch file='{scratch}'/>
    </disk>
  </disks>
</domainbackup>
"""
KEY = 'restrict,from="10.78.0.11",expiry-time="{}",command="x" ssh-ed25519 AAAAC3Nza {}\n'


class Crime:
    """A played host with all that a crash in a backup job of one VM leaves there."""

    def __init__(self, host: PlayedHost) -> None:
        self.host, self.domain = host, host.domains[RUNNING]
        self.uuid = str(self.domain["uuid"])
        number = self.domain["live_xml"].split("id='", 1)[1].split("'", 1)[0]
        self.socket = host.folder / f"qemu/domain-{number}-{self.domain['name']}/hotsite.sock"
        self.scratch = host.folder / f"pool/hotsite-scratch/{self.uuid}-vda.qcow2"
        self.lock = host.folder / f"run/replicate-{self.uuid}.lock"
        for path in (self.socket, self.scratch, self.lock):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            age(path, 60)

    def begin(self, socket: str = "", scratch: str = "") -> None:
        """Have libvirt run a backup job."""
        self.domain.update(job="Backup", backup_xml=JOB.format(
            socket=socket or self.socket, scratch=scratch or self.scratch))
        self.host.set_libvirt()

    def found(self) -> set[tuple[str, str]]:
        """Return what a poll takes for left over."""
        return {(str(one.kind), one.name) for one in parse_leftovers(self.host.text("leftovers"))}


def age(path: Path, seconds: float) -> None:
    """Have a file be touched so long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock as one who conducts a job does."""
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def crime(host: PlayedHost) -> Crime:
    """What a crash left while no job runs any more."""
    return Crime(host)


def test_a_host_on_which_nothing_happened_has_no_leftovers(host: PlayedHost) -> None:
    assert host.text("leftovers") == "[]"


def test_a_job_of_ours_that_nobody_conducts_is_left_over(crime: Crime) -> None:
    crime.begin()
    assert crime.found() == {("job", crime.uuid)}


def test_a_job_is_ours_by_its_scratch_folder_too(crime: Crime) -> None:
    crime.begin(socket="/elsewhere/x.sock")
    assert crime.found() == {("job", crime.uuid), ("socket", str(crime.socket))}


def test_a_foreign_job_is_no_leftover(crime: Crime) -> None:
    crime.begin("/var/tmp/virtnbdbackup.1", "/var/tmp/backup.mail.vda")
    assert crime.found() == {("scratch", str(crime.scratch)), ("socket", str(crime.socket))}


def test_nothing_is_left_over_while_somebody_holds_the_lock(crime: Crime) -> None:
    with held(crime.lock):
        assert crime.found() == set()
        crime.begin()
        crime.host.readings()
        assert crime.found() == set()
        assert crime.host.readings() == 1  # libvirt is not asked for a job that is conducted


def test_looking_leaves_the_lock_free_and_makes_none(crime: Crime) -> None:
    crime.begin()
    crime.found()
    with crime.lock.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    crime.lock.unlink()
    assert ("job", crime.uuid) in crime.found()
    assert not crime.lock.exists()


def test_a_job_that_ended_meanwhile_is_none(crime: Crime) -> None:
    crime.domain["job"] = "Backup"
    crime.host.set_libvirt()
    assert not {one for one in crime.found() if one[0] == "job"}


def test_nothing_is_left_over_of_a_domain_whose_job_libvirt_does_not_show(crime: Crime) -> None:
    crime.domain.update(job="Backup", complaint="Timed out during operation: cannot acquire")
    crime.host.set_libvirt()
    assert crime.found() == set()
    assert "text" in crime.host.ask()["sections"]["domains"]


def test_nothing_is_left_over_of_a_domain_that_cannot_be_read(crime: Crime) -> None:
    crime.domain.update(fails="Timed out during operation: cannot acquire state change lock")
    crime.host.set_libvirt()
    assert crime.found() == set()


def test_other_jobs_are_none_of_ours(crime: Crime) -> None:
    crime.domain["job"] = "Outgoing migration"
    crime.host.set_libvirt()
    assert not {one for one in crime.found() if one[0] == "job"}


def test_scratch_and_socket_that_no_job_uses_are_left_over(crime: Crime) -> None:
    assert crime.found() == {("scratch", str(crime.scratch)), ("socket", str(crime.socket))}


def test_what_was_touched_a_moment_ago_is_left_for_the_next_look(crime: Crime) -> None:
    for path in (crime.scratch, crime.socket):
        age(path, 2)
    assert crime.found() == set()


def test_scratch_beside_a_disk_outside_of_the_pools_is_found(crime: Crime) -> None:
    elsewhere = crime.host.folder / "elsewhere"
    for xml in ("live_xml", "config_xml"):
        crime.domain[xml] = crime.domain[xml].replace("/var/lib/libvirt/images", str(elsewhere))
    crime.host.set_libvirt()
    path = elsewhere / f"hotsite-scratch/{crime.uuid}-vda.qcow2"
    path.parent.mkdir(parents=True)
    path.touch()
    age(path, 60)
    assert ("scratch", str(path)) in crime.found()


def test_scratch_of_a_disk_that_is_no_file_is_found(crime: Crime) -> None:
    path = crime.host.folder / f"images/hotsite-scratch/{crime.uuid}-vdb.qcow2"
    path.parent.mkdir(parents=True)
    path.touch()
    age(path, 60)
    assert ("scratch", str(path)) in crime.found()


def test_a_scratch_file_that_a_process_has_open_is_in_its_hands(crime: Crime) -> None:
    with crime.scratch.open("rb"):
        assert crime.found() == {("socket", str(crime.socket))}


def test_scratch_of_a_vm_that_is_not_here_may_be_used_from_another_host_for_a_day(
        crime: Crime) -> None:
    away = crime.scratch.with_name("11111111-2222-3333-4444-555555555555-vda.qcow2")
    away.touch()
    age(away, 7200)
    assert ("scratch", str(away)) not in crime.found()
    age(away, 2 * 86400)
    assert ("scratch", str(away)) in crime.found()


def test_scratch_of_a_vm_that_is_off_here_may_be_used_from_another_host_for_a_day(
        crime: Crime) -> None:
    crime.domain["state"] = "shut off"
    crime.host.set_libvirt()
    assert ("scratch", str(crime.scratch)) not in crime.found()
    age(crime.scratch, 2 * 86400)
    assert ("scratch", str(crime.scratch)) in crime.found()


def test_other_files_in_a_scratch_folder_are_left_alone(crime: Crime) -> None:
    for name in ("notes.txt", "disk.qcow2", f"{crime.uuid}-vda.raw"):
        crime.scratch.with_name(name).touch()
        age(crime.scratch.with_name(name), 1e6)
    crime.scratch.unlink()
    crime.socket.unlink()
    assert crime.found() == set()


def test_a_socket_whose_domain_is_gone_is_left_over(crime: Crime) -> None:
    crime.host.domains.remove(crime.domain)
    crime.host.set_libvirt()
    assert ("socket", str(crime.socket)) in crime.found()


def test_a_scratch_folder_that_cannot_be_read_tells_nothing(crime: Crime) -> None:
    crime.scratch.unlink()
    crime.scratch.parent.rmdir()
    crime.scratch.parent.symlink_to(crime.scratch.parent)  # a loop
    assert crime.found() == {("socket", str(crime.socket))}


def stamp(offset_s: float, form: str = "%Y%m%d%H%M%S", *, utc: bool = False) -> str:
    """Return a time from now on as OpenSSH writes it."""
    at = time.time() + offset_s
    return time.strftime(form + "Z", time.gmtime(at)) if utc else time.strftime(
        form, time.localtime(at))


def test_a_one_time_key_whose_time_is_over_is_left_over(host: PlayedHost) -> None:
    keys = host.folder / "home/.ssh/authorized_keys"
    keys.parent.mkdir(parents=True)
    keys.write_text("".join([
        "ssh-ed25519 AAAAC3Nza admin@desk\n",
        KEY.format(stamp(-5), "hotsite-transfer-00000001"),
        KEY.format(stamp(-90, "%Y%m%d%H%M"), "hotsite-transfer-00000002"),
        KEY.format(stamp(-5, utc=True), "hotsite-transfer-00000003"),
        KEY.format(stamp(-90000, "%Y%m%d"), "hotsite-transfer-00000004"),
        KEY.format(stamp(60), "hotsite-transfer-00000005"),
        KEY.format(stamp(60, utc=True), "hotsite-transfer-00000006"),
        KEY.format(stamp(-5), "somebody-else"),
        KEY.format(stamp(-5), "hotsite-transfer-by-hand"),
        KEY.format("whenever", "hotsite-transfer-00000007"),
        KEY.format("20269999", "hotsite-transfer-00000008"),
        "# " + KEY.format(stamp(-5), "hotsite-transfer-00000009"),
        "ssh-ed25519 AAAAC3Nza hotsite-transfer-0000000a\n",
    ]))
    assert parse_leftovers(host.text("leftovers")) == tuple(
        Leftover(LeftoverKind.KEY, f"hotsite-transfer-0000000{number}") for number in (1, 2, 3, 4))


def test_an_older_mover_that_nobody_runs_is_left_over(host: PlayedHost) -> None:
    run = host.folder / "run"
    run.mkdir()
    old, open_, younger, newest = (run / f"mover-{digit * 16}.pyz" for digit in "abcd")
    for path, seconds in ((old, 9000), (open_, 8000), (younger, 1800), (newest, 60)):
        path.touch()
        age(path, seconds)
    (run / "mover-notes.pyz").touch()
    age(run / "mover-notes.pyz", 1e6)
    with open_.open("rb"):
        assert parse_leftovers(host.text("leftovers")) == (
            Leftover(LeftoverKind.PROGRAM, str(old)),)


def test_the_only_mover_is_kept_however_old(host: PlayedHost) -> None:
    (host.folder / "run").mkdir()
    mover = host.folder / f"run/mover-{'a' * 16}.pyz"
    mover.touch()
    age(mover, 1e6)
    assert host.text("leftovers") == "[]"


def test_a_drill_that_nobody_conducts_is_left_over_and_one_that_goes_on_is_not(
        crime: Crime) -> None:
    root = crime.host.folder / f"pool/hotsite-replicas/{crime.uuid}"
    (root / "drill").mkdir(parents=True)
    (crime.host.folder / "pool/hotsite-replicas/else/drill").mkdir(parents=True)
    assert ("drill", str(root)) in crime.found()
    assert [name for kind, name in crime.found() if kind == "drill"] == [str(root)]
    lock = crime.host.folder / f"run/drill-{crime.uuid}.lock"
    with held(lock):
        assert ("drill", str(root)) not in crime.found()
    assert ("drill", str(root)) in crime.found()
