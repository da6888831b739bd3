"""The talk's estate: 12 hosts and 35 VMs that change all the time, and the loop that protects them.

The VMs have no system, since so many of them would take both processors for themselves; QEMU writes
to their disks in their place. Counted is the age of each VM's newest whole restore point, by the
start of its copy, from the moment when every VM has one.
"""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.figure import Figure
from tests.bench.replication.ours import specs_in
from tests.bench.replication.scale import Scale
from tests.lab.lab import ROOT, STATE, Lab, wait_until

HOSTS = tuple(f"{site}-{n}" for site in ("paris", "milan") for n in range(1, 7))
LOOK_S = 2.0
SLACK_S = 10.0
DEVICE = "/machine/peripheral/virtio-disk0/virtio-backend"
TEMPLATE = """<domain type='qemu'>
<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>
<emulator>/usr/bin/qemu-system-x86_64</emulator><controller type='usb' model='none'/>
<memballoon model='none'/></devices></domain>
"""
VM = """kind: VirtualMachine
metadata: {{name: {name}}}
spec:
  power: on
  cpus: 1
  memory: 64MiB
  template: ../templates/still.xml
  disks: [{{name: vda, size: 64MiB, pool: default}}]
  nics: [{{network: office, mac: "52:54:00:02:01:{number:02x}"}}]
  placement: {{site: {site}}}
  protection: gold
"""
POLICY = """kind: ProtectionPolicy
metadata: {{name: gold}}
spec: {{rpo: {rpo_s}s, keep: {{last: 3}}, verify: 7d, failover: confirm}}
"""


def figures(scale: Scale) -> list[Figure]:
    """Return how old each VM's newest restore point ever became."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_specs(folder, scale)
        with looping(folder):
            machines = scale.estate_machines
            wait_until("a restore point of every VM",
                       lambda: len(newest_points()) == machines, 900)
            oldest = watched(places(), scale.estate_s)
    assert len(oldest) == machines, sorted(oldest)
    limit = scale.estate_rpo_s + SLACK_S
    return [Figure(f"{machines} VMs for {scale.estate_s / 60:g} minutes, rpo"
                   f" {scale.estate_rpo_s} s: age of the newest point at its worst, by VM", "s",
                   tuple(oldest.values()), limit=limit, limit_at=1.0)]


def write_specs(folder: Path, scale: Scale) -> None:
    """Make specs of the estate out of those of the small lab."""
    specs = specs_in(folder)
    for old in specs.glob("virtual_machine/*"):
        old.unlink()
    (specs / "templates/still.xml").write_text(TEMPLATE)
    (specs / "protection_policy/gold.yaml").write_text(POLICY.format(rpo_s=scale.estate_rpo_s))
    for site, octet in (("paris", 10), ("milan", 20)):
        host = (specs / f"host/{site}-1.yaml").read_text()
        switch = specs / f"switch/{site}-sw.yaml"
        for number in range(3, 7):
            (specs / f"host/{site}-{number}.yaml").write_text(host.replace(
                f"{site}-1", f"{site}-{number}").replace(f".{octet + 1}", f".{octet + number}"))
            with switch.open("a") as file:
                file.write(f"    - {{name: h{number}, host: {site}-{number}}}\n")
    for number in range(scale.estate_machines):
        site = ("paris", "milan")[number % 2]
        (specs / f"virtual_machine/vm-{number:02}.yaml").write_text(VM.format(
            name=f"vm-{number:02}", number=number, site=site))


@contextmanager
def looping(folder: Path) -> Iterator[None]:
    """Keep `hotsite run` going while the block lasts."""
    log = folder / "run.log"
    with log.open("w") as out:
        loop = subprocess.Popen(
            [sys.executable, "-m", "controller", "run", str(folder / "specs"), "--state",
             str(folder / "state")], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        yield
        assert loop.poll() is None, "the loop has ended"
    except BaseException:
        print(log.read_text()[-4000:])
        raise
    finally:
        loop.terminate()
        loop.wait()


def newest_points() -> dict[str, float]:
    """Return when the copy of each VM's newest whole point began."""
    found: dict[str, float] = {}
    for path in STATE.glob("nodes/*/disk/images/hotsite-replicas/*/state.json"):
        told = json.loads(path.read_text())["state"]
        whole = [point["started_at"] for point in told["points"] if not point["damaged"]]
        if whole:
            name = told["facts"]["machine"]
            found[name] = max(found.get(name, 0.0), *map(float, whole))
    return found


def places() -> dict[str, str]:
    """Return the host that each VM is on."""
    lab = Lab()
    return {name: host for host in HOSTS for name in lab.running(host)}


def watched(homes: dict[str, str], lasts_s: float) -> dict[str, float]:
    """Change one VM after the other, and return how old each one's newest point ever was."""
    lab, oldest, until = Lab(), dict.fromkeys(homes, 0.0), time.monotonic() + lasts_s
    for number, vm in enumerate(itertools.cycle(sorted(homes))):
        if time.monotonic() > until:
            return oldest
        lab.virsh(homes[vm], "qemu-monitor-command", vm, "--hmp",
                  f'qemu-io -d {DEVICE} "write -P {number % 255 + 1} {number % 60}M 1M"')
        now, points = time.time(), newest_points()
        for name in oldest:
            oldest[name] = max(oldest[name], now - points[name])
        time.sleep(LOOK_S)
    raise AssertionError("a cycle has no end")
