"""What libvirt saved of a guest goes along, whole or not at all."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mover.failover import memory

from tests.mover.replica.test_remove import UUID

MOVER = Path(__file__).parents[3] / "controller/remote"
IMAGE = os.urandom((3 << 20) + 17)
RUN = ("import sys; sys.path.insert(0, sys.argv[1]); from mover.failover import memory;"
       "memory.SAVES = sys.argv[2]; from mover.verbs import main; sys.exit(main(sys.argv[3:]))")
VIRSH = """#!{python}
import re, sys
said = {said!r}
if "save-image-define" in sys.argv:
    open({defined!r}, "w").write(sys.stdin.read())
elif "save-image-dumpxml" in sys.argv:
    sys.stdout.write("<domain/>")
asked = re.split("; echo (@@[0-9a-f]+@@)(?:; )?", sys.argv[-1])
for question, mark in zip(asked[::2], asked[1::2]):
    sys.stdout.write(said.get(question.split()[0], "") + "\\n" + mark + "\\n")
"""
WRITES = ("import sys, time; file = open(sys.argv[1], 'ab'); sys.stdout.write('writes\\n');"
          "sys.stdout.flush(); time.sleep(30)")
SAVED = {"domname": "sql", "domstate": "shut off"}


class Ends:
    """A source whose libvirt has saved a guest, and a target with its replica."""

    def __init__(self, folder: Path) -> None:
        self.saves, self.root = folder / "save", folder / "pool/hotsite-replicas" / UUID
        self.defined = folder / "defined.xml"
        self.saves.mkdir()
        self.root.mkdir(parents=True)
        (self.root / "state.json").write_text("{}")
        (self.saves / "sql.save").write_bytes(IMAGE)
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.libvirt()

    def libvirt(self, **said: str) -> None:
        """Let virsh say this."""
        (self.bin / "virsh").write_text(VIRSH.format(
            python=sys.executable, said={**SAVED, **said}, defined=str(self.defined)))
        (self.bin / "virsh").chmod(0o755)

    def run(self, *words: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        """Run a verb of the mover."""
        return subprocess.run(
            [sys.executable, "-c", RUN, str(MOVER), str(self.saves), *words], input=given,
            capture_output=True, check=False,
            env={**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"})

    def sent(self) -> bytes:
        """Return what the source sends."""
        done = self.run("memory-out", given=json.dumps(
            {"uuid": UUID, "to": {"fds": [1]}}).encode() + b"\n")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stderr.splitlines()[-1]) == {"sent": len(IMAGE)}
        return done.stdout


@pytest.fixture(name="ends")
def ends_fixture(tmp_path: Path) -> Ends:
    """Both ends, on one machine."""
    return Ends(tmp_path)


def test_it_arrives_as_it_was_and_stays_where_it_was(ends: Ends) -> None:
    done = ends.run("memory-in", str(ends.root), given=ends.sent())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"received": len(IMAGE)}
    assert (ends.root / "memory").read_bytes() == IMAGE
    assert (ends.root / "memory").stat().st_mode & 0o777 == 0o600
    assert (ends.saves / "sql.save").read_bytes() == IMAGE


def test_one_that_still_writes_what_an_earlier_attempt_saved_is_ended(ends: Ends) -> None:
    with subprocess.Popen(
            [sys.executable, "-c", WRITES, str(ends.root / "memory.part"), "mover.zip"],
            stdout=subprocess.PIPE) as older:
        assert older.stdout is not None
        assert older.stdout.readline() == b"writes\n"
        done = ends.run("memory-in", str(ends.root), given=ends.sent())
        assert done.returncode == 0, done.stderr
        assert older.wait() == -signal.SIGTERM
    assert (ends.root / "memory").read_bytes() == IMAGE
    assert not (ends.root / "memory.part").exists()


@pytest.mark.parametrize("spoil", [
    lambda data: b"", lambda data: data[:40], lambda data: data[:-40], lambda data: data[:-1],
    lambda data: data[:5000] + bytes((data[5000] ^ 1,)) + data[5001:],
    lambda data: b"bash: warning\n" + data])
def test_what_is_cut_off_or_altered_is_not_there(ends: Ends, spoil: object) -> None:
    assert callable(spoil)
    done = ends.run("memory-in", str(ends.root), given=spoil(ends.sent()))
    assert done.returncode == 2, done.stderr
    assert [path.name for path in ends.root.iterdir()] == ["state.json"]


@pytest.mark.parametrize("said", [
    {"domname": "web"}, {"domstate": "running"}, {"domname": "", "domstate": ""}])
def test_only_a_guest_that_is_saved_has_any(ends: Ends, said: dict[str, str]) -> None:
    ends.libvirt(**said)
    done = ends.run("memory-out", given=json.dumps(
        {"uuid": UUID, "to": {"fds": [1]}}).encode() + b"\n")
    assert (done.returncode, done.stdout) == (1, b"")


def test_it_is_given_to_libvirt_with_its_new_definition(ends: Ends) -> None:
    (ends.root / "memory").write_bytes(IMAGE)
    (ends.saves / "sql.save").write_bytes(b"of an older copy")
    request = {"replica": str(ends.root), "domain": "sql", "xml": "<domain>there</domain>"}
    done = ends.run("memory-put", given=json.dumps(request).encode() + b"\n")
    assert done.returncode == 0, done.stderr
    assert (ends.saves / "sql.save").read_bytes() == IMAGE
    assert ends.defined.read_text() == "<domain>there</domain>"
    assert not (ends.root / "memory").exists()


@pytest.mark.parametrize("name", ["", "../sql", "-c"])
def test_a_name_that_leads_elsewhere_is_refused(ends: Ends, name: str) -> None:
    (ends.root / "memory").write_bytes(IMAGE)
    request = {"replica": str(ends.root), "domain": name, "xml": "<domain/>"}
    done = ends.run("memory-put", given=json.dumps(request).encode() + b"\n")
    assert done.returncode == 1
    assert (ends.root / memory.NAME).exists()


@pytest.mark.parametrize(("uuid", "goes"), [(UUID, True), ("another", False)])
def test_what_an_attempt_gave_to_libvirt_is_taken_back_if_it_is_of_that_vm(
        ends: Ends, monkeypatch: pytest.MonkeyPatch, uuid: str, *, goes: bool) -> None:
    monkeypatch.setattr(memory, "SAVES", str(ends.saves))
    monkeypatch.setattr(memory, "_virsh", lambda *words: f"<domain><uuid>{uuid}</uuid></domain>")
    memory.forget(UUID, "sql")
    assert (ends.saves / "sql.save").exists() is not goes
    memory.forget(UUID, "gone")
