"""What we put on a node goes, by its name and place; what others put there stays."""

import fcntl
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from controller.providers.linux.program import load_program

KEY = ('restrict,from="10.0.0.1",expiry-time="20261129000000Z",command="x" ssh-ed25519 AAAA'
       " hotsite-transfer-0123456789abcdef")
FREE = "# a free place for a one-time key of hotsite".ljust(255)


class Place:
    """A machine's folders."""

    def __init__(self, folder: Path) -> None:
        self.run, self.durable = folder / "run", folder / "durable"
        self.pool, self.keys = folder / "pool", folder / "authorized_keys"
        for path in ("mover-0123456789abcdef.pyz", "sshd.json", "replicate-uuid.lock", "boot_id",
                     "guard/guard-0123456789abcdef.pyz", "guard/page"):
            self.write(self.run / path)
        for path in ("term", "term.lock", "failover/Site_paris.json", "known/uuid", "state.db",
                     "guard/revoked.json", "lease/term"):
            self.write(self.durable / path)
        for path in ("hotsite-scratch", "hotsite-replicas/uuid"):
            (self.pool / path).mkdir(parents=True)
        self.keys.write_text(f"ssh-rsa CCCC mine\n{KEY}\n{FREE}\n# mine\n")
        self.keys.chmod(0o640)
        (self.run / "authorized_keys.lock").write_text(str(self.keys))

    def write(self, path: Path) -> None:
        """Make a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

    def leave(self) -> "subprocess.CompletedProcess[str]":
        """Run the program."""
        return subprocess.run(
            [sys.executable, "-I", "-S", "-c", load_program("leave.py")], text=True,
            input=json.dumps({"folders": [str(self.pool)]}), capture_output=True, check=False,
            env={**os.environ, "HOTSITE_RUN": str(self.run), "HOTSITE_DURABLE": str(self.durable)})

    def left(self) -> set[str]:
        """Return the files that are there."""
        return {str(path.relative_to(folder)) for folder in (self.run, self.durable)
                for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A machine on which we were."""
    return Place(tmp_path)


def test_what_is_ours_goes_and_a_second_time_finds_nothing(place: Place) -> None:
    done = place.leave()
    assert done.returncode == 0, done.stderr
    assert place.left() == {"boot_id", "state.db", "lease/term"}
    assert place.keys.read_text() == "ssh-rsa CCCC mine\n# mine\n"
    assert place.keys.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in place.pool.iterdir()) == ["hotsite-replicas"]
    assert not (place.run / "guard").exists()
    again = place.leave()
    assert (again.returncode, json.loads(again.stdout)) == (0, {"removed": []})


def test_while_a_copy_is_at_work_nothing_goes(place: Place) -> None:
    before = place.left()
    with (place.run / "replicate-uuid.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = place.leave()
    assert done.returncode == 1
    assert "a copy of a VM is at work" in done.stderr
    assert place.left() == before


def test_while_a_guard_listens_nothing_goes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    before = place.left()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as guard:
        guard.bind(str(place.run / "guard" / "guard.sock"))
        done = place.leave()
    assert done.returncode == 1
    assert "guard.sock listens" in done.stderr
    assert place.left() == before
