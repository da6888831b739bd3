"""The servers of a VM at rest are there for one copy and not longer."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mover import cold

from tests.remote.replicas import qemu_img
from tests.waiting import wait_until

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from mover import cold, virsh
disk = virsh.Disk(sys.argv[2], "qcow2", "file")
served = cold.serve(virsh.Domain("u", "sql", "", {"vda": disk}, "", False), ["vda"], "")
sys.stdout.write("%d\\n" % served.servers[0].pid)
sys.stdout.flush()
sys.stdin.read()
cold.stop(served)
"""


@pytest.mark.skipif(not shutil.which("qemu-nbd"), reason="needs qemu-nbd")
@pytest.mark.parametrize("killed", [True, False])
def test_no_server_outlives_its_mover(tmp_path: Path, killed: bool) -> None:
    qemu_img("create", "-q", "-f", "qcow2", tmp_path / "a.qcow2", "1M")
    with subprocess.Popen(
            [sys.executable, "-c", SCRIPT, Path(cold.__file__).parents[1], tmp_path / "a.qcow2"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "HOTSITE_RUN": str(tmp_path)}) as mover:
        assert mover.stdout is not None
        server = Path("/proc") / mover.stdout.readline().strip()
        assert "qemu-nbd" in (server / "cmdline").read_text()
        if killed:
            mover.kill()
    wait_until(lambda: not server.exists(), 5)
    assert not list(tmp_path.glob("cold-*.sock"))
