"""The NBD servers of a VM that is off last for one copy and no longer."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mover.backup import offline, virsh
from mover.errors import TryAgain

from tests.mover.replicas import qemu_img
from tests.waiting import wait_until

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from mover.backup import offline, virsh
disk = virsh.Disk(sys.argv[2], "qcow2", "file")
served = offline.serve(virsh.Domain("u", "sql", "", {"vda": disk}, "", False), ["vda"], {})
sys.stdout.write("%d\\n" % served.servers[0].pid)
sys.stdout.flush()
sys.stdin.read()
offline.stop(served)
"""


@pytest.mark.skipif(not shutil.which("qemu-nbd"), reason="needs qemu-nbd")
@pytest.mark.parametrize("killed", [True, False])
def test_no_server_outlives_its_mover(tmp_path: Path, killed: bool) -> None:
    qemu_img("create", "-q", "-f", "qcow2", tmp_path / "a.qcow2", "1M")
    with subprocess.Popen(
            [sys.executable, "-c", SCRIPT, Path(offline.__file__).parents[2], tmp_path / "a.qcow2"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "HOTSITE_RUN": str(tmp_path)}) as mover:
        assert mover.stdout is not None
        server = Path("/proc") / mover.stdout.readline().strip()
        assert "qemu-nbd" in (server / "cmdline").read_text()
        if killed:
            mover.kill()
    wait_until(lambda: not server.exists())
    assert not list(tmp_path.glob("cold-*.sock"))


SERVER = """#!{python}
import os, signal, socket, sys, time
lost = lambda *_: None
signal.signal(signal.SIGTERM, lost)
listening = socket.socket(socket.AF_UNIX)
listening.bind(next(word for word in sys.argv if word.startswith("--socket=")).split("=")[1])
listening.listen()
time.sleep(0.3)
if not {deaf}:
    signal.signal(signal.SIGTERM, lambda *_: (open("{heard}", "w").close(), os._exit(0)))
while True:
    listening.accept()[0].send(b"NBDMAGIC")
"""


@pytest.mark.parametrize(("deaf", "stop_s"), [(False, 60), (True, 0.5)])
def test_a_server_ends_also_where_it_does_not_hear_of_it(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf: bool, stop_s: float) -> None:
    heard = tmp_path / "heard"
    (tmp_path / "qemu-nbd").write_text(
        SERVER.format(python=sys.executable, deaf=deaf, heard=heard))
    (tmp_path / "qemu-nbd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(offline, "FOLDER", str(tmp_path))
    monkeypatch.setattr(offline, "STOP_S", stop_s)
    disk = virsh.Disk("/d/a.raw", "raw", "file")
    domain = virsh.Domain("u", "sql", "", {"vda": disk}, "", agent=False)
    served = offline.serve(domain, ["vda"], {})
    offline.stop(served)
    assert all(server.poll() is not None for server in served.servers)
    assert heard.exists() != deaf, "who listens is not killed before it has ended"
    assert served.servers[0].returncode in {0, -signal.SIGKILL}


def test_an_image_that_is_not_read_in_time_is_waited_for_no_longer(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "qemu-img").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "qemu-img").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(offline, "INFO_S", 0.1)
    with pytest.raises(TryAgain, match="was not read within"):
        offline.bitmap_of(virsh.Disk("/d/a.qcow2", "qcow2", "file"), "hotsite-000001-aa")
