"""The watchdog: a FIFO stands for it, and its reader for what resets the host."""

import os
import select
import signal
from pathlib import Path

from tests.guard.rig import STUBBORN, Rig, boottime
from tests.waiting import wait_until

FIRES_S = 1.0


class Fuse:
    """The reader of a FIFO, outside of the host: it fires once it was not fed for FIRES_S."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.fed_at: float | None = None

    def fires(self) -> bool:
        """Take what it was fed with; return whether it fires now."""
        while select.select([self.fd], [], [], 0)[0]:
            if not os.read(self.fd, 4096):
                break
            self.fed_at = boottime()
        return self.fed_at is not None and boottime() - self.fed_at > FIRES_S


def guarded(rig: Rig, *guests: str) -> Fuse:
    """Start a guard that feeds a fuse."""
    fuse = Fuse(rig.folder / "watchdog")
    rig.grantor("witness")
    rig.guest(*guests)
    rig.guard(watchdog=str(rig.folder / "watchdog"), watchdog_s=FIRES_S)
    rig.granted()
    wait_until(lambda: not fuse.fires() and fuse.fed_at is not None, 20)
    return fuse


def not_fired_for(fuse: Fuse, limit_s: float) -> bool:
    """Return whether it does not fire for so long."""
    until = boottime() + limit_s
    fired = False
    while boottime() < until and not fired:
        fired = fuse.fires()
    return not fired


def test_it_is_fed_while_grants_come_and_after_the_guests_have_ended(rig: Rig) -> None:
    fuse = guarded(rig, "sql")
    assert not_fired_for(fuse, 2.5)
    rig.silence()
    rig.gone()
    assert not_fired_for(fuse, 2.5)        # nothing is left that could run twice
    assert rig.page("watchdog") == 3        # a FIFO


def test_a_frozen_host_is_reset(rig: Rig) -> None:
    fuse = guarded(rig, "sql")
    wait_until(lambda: len(rig.guard_pids()) == 2, 20)
    for pid in rig.guard_pids():
        os.kill(pid, signal.SIGSTOP)
    frozen = boottime()
    wait_until(fuse.fires, 20)
    assert boottime() - frozen < FIRES_S + 1.5


def test_one_killed_process_is_no_reason_to_reset(rig: Rig) -> None:
    fuse = guarded(rig, "sql")
    for place in (0, 1):
        wait_until(lambda: len(rig.guard_pids()) == 2, 20)
        os.kill(rig.guard_pids()[place], signal.SIGKILL)
        assert not_fired_for(fuse, 1.5)


def test_a_guest_that_does_not_die_ends_the_feeding(tmp_path: Path) -> None:
    """A process in the kernel cannot be made to order: here, no signal reaches it."""
    import subprocess

    from guard import config, guarding, guests

    from tests.guard.rig import HOST, PYTHON, key_of, uuid_of

    class Deaf(guests.Guests):
        @staticmethod
        def _signal(held: guests.Held, number: int) -> None:
            pass

    fuse = Fuse(tmp_path / "watchdog")
    guest = subprocess.Popen([*PYTHON, "-c", f"import signal; {STUBBORN}; signal.pause()",
                              "-name", "guest=sql,", "-uuid", uuid_of("sql")])
    try:
        wait_until(lambda: guests.uuid_of(guest.pid, "sql") is not None, 20)
        (tmp_path / "sql.pid").write_text(str(guest.pid))
        told = config.parse_guard({
            "digest": "d", "host": HOST, "key": key_of(HOST), "grantors": [], "victims": ["sql"],
            "pids": str(tmp_path), "deadline_s": 5.0, "every_s": 1.0, "kill_s": 1.0, "feed_s": 0.1,
            "watchdog_s": 1.0, "watchdog": str(tmp_path / "watchdog")})
        made = guarding.HostGuard(str(tmp_path), "boot-1", told, 1)
        made.guests = Deaf(str(tmp_path), told.pids, told.victims)
        made.page.grant(100.0)
        made.judge_at = 0.0
        made.judge(101.0)
        fuse.fires()
        fed = made.device.fed_at
        assert fed == 101.0
        for now in (105.1, 105.7, 106.2, 107.0):
            made.judge(now)
        assert made.device.fed_at == fed
        assert made.page.get("stubborn") == 1
        assert set(made.guests.held) == {"sql"}
    finally:
        guest.kill()
        guest.wait()


def test_what_a_driver_says_of_itself_is_read_by_its_name() -> None:
    from guard.watchdog_device import INFO, kind_of, parse_identity

    assert parse_identity(INFO.pack(0x8180, 0, b"iTCO_wdt")) == "iTCO_wdt"
    assert kind_of("iTCO_wdt") == "hardware"
    assert kind_of(parse_identity(INFO.pack(0, 0, b"Software Watchdog"))) == "software"


def test_an_ordinary_file_is_no_watchdog(tmp_path: Path) -> None:
    from guard.watchdog_device import WatchdogDevice

    (tmp_path / "file").touch()
    device = WatchdogDevice(str(tmp_path / "file"), 8.0)
    device.open(1.0)
    device.feed(1.0, 1.0)
    assert (device.kind, device.identity) == ("missing", "it is no watchdog device")
    assert (tmp_path / "file").read_bytes() == b""


def test_one_that_is_not_there_yet_is_tried_again(tmp_path: Path) -> None:
    from guard.watchdog_device import WatchdogDevice

    device = WatchdogDevice(str(tmp_path / "fifo"), 8.0)
    device.open(1.0)
    assert device.kind == "missing"
    Fuse(tmp_path / "fifo")
    device.open(2.0)
    assert device.kind == "fifo"
