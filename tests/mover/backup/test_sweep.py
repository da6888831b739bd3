"""Leftovers are removed only if they are surely ours and have no owner; libvirt is played."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from mover.backup import backup_job, conductor, offline, sweep, virsh
from mover.errors import TryAgain

UUID = "ac919846-041c-5282-aa02-f968f5a26f2d"
DOMAIN = """<domain id='4'><name>sql</name><os><nvram>/nv</nvram></os><devices>
<disk type='file' device='disk'><driver type='qcow2'/><source file='/d/a.qcow2'/>
<target dev='vda'/></disk>
<disk type='block' device='disk'><driver type='raw'/><source dev='/dev/vg/b'/>
<target dev='vdb'/></disk><disk type='file' device='cdrom'><target dev='sda'/></disk>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/>
</channel></devices></domain>"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with nothing but a folder and a libvirt that knows no domain."""
    monkeypatch.setattr(conductor, "FOLDER", str(tmp_path))
    monkeypatch.setattr(sweep, "FOLDER", str(tmp_path))
    play_virsh(tmp_path, "echo \"error: failed to get domain 'x'\" >&2", "exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def play_virsh(folder: Path, *lines: str) -> None:
    """Let virsh do this for each command."""
    (folder / "virsh").write_text("\n".join(["#!/bin/sh", *lines]))
    (folder / "virsh").chmod(0o755)


def scratch(folder: Path, age_s: float) -> Path:
    """Leave a scratch file that was touched so long ago."""
    path = folder / "hotsite-scratch" / f"{UUID}-vda.qcow2"
    path.parent.mkdir(exist_ok=True)
    path.touch()
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_only_scratch_of_ours_goes(folder: Path) -> None:
    ours = scratch(folder, 2 * 86400)
    sweep._scratch(str(ours))
    assert not ours.exists()
    other = folder / f"{UUID}-vda.qcow2"
    other.touch()
    with pytest.raises(sweep.Owned):
        sweep._scratch(str(other))
    assert other.exists()


@pytest.mark.parametrize("says", [
    "echo \"error: failed to get domain 'x'\" >&2; exit 1", "echo -"])
def test_scratch_stays_for_a_day_where_its_vm_may_run_on_another_host(
        folder: Path, says: str) -> None:
    play_virsh(folder, says)
    ours = scratch(folder, 3600)
    with pytest.raises(sweep.Owned, match="another host"):
        sweep._scratch(str(ours))
    assert ours.exists()


def test_scratch_of_a_vm_that_runs_here_stays_only_for_its_job(folder: Path) -> None:
    ours = scratch(folder, 2 * 86400)
    job_xml = f"<domainbackup><disks><disk><scratch file='{ours}'/></disk></disks></domainbackup>"
    # a guest that crashed may have kept its process, and with it the job
    number = ("case $4 in domid) echo 4; exit;; domstate) echo 'crashed (panicked)'; exit;; esac",
              'mark=$(echo "$*" | grep -oE "@@[0-9a-f]+@@" | head -1)')
    play_virsh(folder, *number, f'echo "{job_xml}"; echo $mark',
               "echo 'Job type: Unbounded'; echo 'Operation: Backup'; echo $mark")
    with pytest.raises(sweep.Owned, match="a job uses it"):
        sweep._scratch(str(ours))
    play_virsh(folder, *number, "echo $mark; echo 'Job type: None'; echo $mark")
    sweep._scratch(str(ours))
    assert not ours.exists()


def test_what_is_conducted_stays(folder: Path) -> None:
    ours = folder / "hotsite-scratch" / f"{UUID}-vda.qcow2"
    ours.parent.mkdir()
    ours.touch()
    held = conductor.lock(UUID)
    try:
        with pytest.raises(TryAgain):
            sweep._scratch(str(ours))
    finally:
        os.close(held)
    assert ours.exists()


def test_a_program_that_runs_stays(folder: Path) -> None:
    program = folder / "mover-0123456789abcdef.pyz"
    program.touch()
    with subprocess.Popen(["sh", "-c", "read x", program], stdin=subprocess.PIPE):
        with pytest.raises(sweep.Owned):
            sweep._program(str(program))
    sweep._program(str(program))
    assert not program.exists()


def test_a_domain_is_read_from_its_definition() -> None:
    domain = virsh.domain_of(UUID, DOMAIN)
    assert domain.disks == {"vda": virsh.Disk("/d/a.qcow2", "qcow2", "file"),
                            "vdb": virsh.Disk("/dev/vg/b", "raw", "block")}
    assert (domain.id, domain.nvram, domain.agent) == ("4", "/nv", True)
    assert backup_job.scratch_path(domain, "vda") == f"/d/hotsite-scratch/{UUID}-vda.qcow2"
    assert backup_job.scratch_path(domain, "vdb").startswith(
        "/var/lib/libvirt/images/hotsite-scratch/")


def test_only_disks_that_can_keep_a_checkpoint_get_one() -> None:
    text = backup_job.checkpoint_xml(virsh.domain_of(UUID, DOMAIN), "hotsite-000001",
                                {"vda": "full", "vdb": "full"})
    assert "vda" in text
    assert "vdb" not in text


def test_a_job_is_known_by_its_socket_and_its_scratch() -> None:
    text = ("<domainbackup><server transport='unix' socket='/q/hotsite.sock'/><disks><disk>"
            "<scratch file='/s'/></disk></disks></domainbackup>")
    assert virsh.socket_of(text) == "/q/hotsite.sock"
    assert virsh.scratch_of(text) == ["/s"]
    assert virsh.socket_of("Migration") == ""


def test_a_disk_at_rest_is_opened_without_a_lock() -> None:
    argv = offline.server_argv(virsh.Disk("/d/a,b.qcow2", "qcow2", "file"), "/s", "vda", "cp")
    assert "--read-only" in argv
    assert argv[argv.index("-B") + 1] == "cp"
    assert "force-share=on" in argv[-1]
    assert argv[-1].endswith("file.filename=/d/a,,b.qcow2")


def test_what_is_strange_is_kept_with_a_reason(folder: Path) -> None:
    asking = subprocess.run(
        ["python3", "-c", "import sys; sys.path.insert(0, sys.argv[1]);"
         "from mover.verbs import main; sys.exit(main(['sweep']))",
         Path(sweep.__file__).parents[2]], input=json.dumps({"leftovers": [["house", "x"]]}) + "\n",
        capture_output=True, text=True, check=True)
    assert json.loads(asking.stdout)["kept"] == {"x": "this mover does not know how to remove it"}
