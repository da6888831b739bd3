"""What runs already in the lab is imported with an empty plan; doctor finds what was planted there.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from controller.source.load import load_folder
from tests.lab.hotsite import PROGRAM, Hotsite
from tests.lab.lab import Lab, Reply, wait_until
from tests.lab.ready import HOMES

pytestmark = pytest.mark.usefixtures("converged")
ADDRESSES = ("10.77.0.11", "10.77.0.12", "10.77.0.21", "10.77.0.22")
SITES = ("--site", "paris=10.77.0.11,10.77.0.12", "--site", "milan=10.77.0.21,10.77.0.22")


@pytest.fixture
def hotsite(tmp_path: Path) -> Hotsite:
    """Give specs and a state folder of its own to each test."""
    return Hotsite(tmp_path)


def run(*words: str) -> Reply:
    """Run a verb that keeps no state."""
    done = subprocess.run([str(PROGRAM), *words], capture_output=True, text=True, timeout=300,
                          check=False, stdin=subprocess.DEVNULL)
    return Reply(done.returncode, done.stdout, done.stderr)


def imported(lab: Lab, out: Path) -> Reply:
    """Import the lab's hosts into a folder."""
    return run("import", *ADDRESSES, *SITES, "--out", str(out), "--key",
               str(lab.state / "id_ed25519"), "--known-hosts", str(lab.state / "known_hosts"),
               "--name", "lab")


def test_the_lab_is_imported_with_an_empty_plan(lab: Lab, tmp_path: Path) -> None:
    out = tmp_path / "imported"
    done = imported(lab, out)
    assert done.status == 0, done.output + done.complaint
    desired = load_folder(out)
    assert set(desired.virtual_machines) == set(HOMES)
    assert {host.spec.site for host in desired.hosts.values()} == {"paris", "milan"}
    assert {one.spec.vlan for one in desired.networks.values()} >= {30, 40, 200}
    assert {name: len(vm.spec.disks) for name, vm in desired.virtual_machines.items()} == (
        dict.fromkeys(HOMES, 1))
    assert imported(lab, out).status == 0, "nothing is new"


# --- doctor
def findings(specs: Path) -> set[tuple[str, str, str]]:
    """What doctor finds: how bad, about what, and by which check; notes are left out."""
    done = run("doctor", "--specs", str(specs), "--format", "json")
    found: list[dict[str, Any]] = json.loads(done.output)["findings"]
    assert all(one["consequence"] for one in found)
    assert all(one["mend"] for one in found if one["level"] != "not known")
    return {(one["level"], one["about"], one["check"]) for one in found if one["level"] != "note"}


@contextmanager
def planted(lab: Lab) -> Iterator[None]:
    """Break one of everything, and mend it again."""
    core = ("ip", "-n", "hs-core", "link", "set", "rep-n12", "mtu")
    hole = ("pref", "50", "to", "10.78.0.21", "blackhole")
    broken = (("bmc", "paris-2"), ("libvirtd", "milan-2"), ("fill", "milan-1"))
    known = "/etc/ssh/ssh_known_hosts"
    lab.exec("paris-2", "sh", "-c", f"mv {known} {known}.away")
    try:
        for fault in broken:
            lab.break_(*fault)
        lab.exec("paris-1", "ip", "rule", "add", *hole)
        subprocess.run([*core, "1300"], check=True)
        yield
    finally:
        lab.exec("paris-1", "ip", "rule", "del", *hole)
        subprocess.run([*core, "1500"], check=True)
        for fault in reversed(broken):
            lab.mend(*fault)
        lab.exec("paris-2", "sh", "-c", f"mv {known}.away {known}")


def test_doctor_finds_each_planted_fault_and_nothing_once_all_are_mended(
        lab: Lab, hotsite: Hotsite) -> None:
    assert findings(hotsite.specs) == set()
    with planted(lab):
        found = findings(hotsite.specs)
    hurts, stops = "will hurt", "stops you"
    assert {
        (stops, "Host/paris-1 to Host/milan-1", "replication path"),
        (hurts, "Host/paris-1 to Host/milan-1", "ports"),
        (hurts, "Host/paris-2", "bmc"),
        (stops, "Host/milan-2", "libvirt"),
        (hurts, "Host/milan-1", "room"),
        (hurts, "Host/paris-2 to Host/milan-1", "key exchange"),
        (hurts, "Host/paris-2 to Host/paris-1", "mtu"),
    } <= found
    assert ("Host/milan-1 to Host/milan-2", "mtu") not in {one[1:] for one in found}
    wait_until("nothing is left to find", lambda: findings(hotsite.specs) == set())


def test_doctor_tells_an_unknown_key_from_one_that_changed(lab: Lab, hotsite: Hotsite,
                                                           tmp_path: Path) -> None:
    lines = (lab.state / "known_hosts").read_text().splitlines()
    keys = {line.split()[0]: line.split()[1:3] for line in lines}
    keys["10.77.0.11"] = keys["10.77.0.12"]
    del keys["10.77.0.21"]
    own = tmp_path / "known_hosts"
    own.write_text("".join(f"{host} {' '.join(key)}\n" for host, key in keys.items()))
    hotsite.edit("estate", "lab", f"knownHosts: {lab.state}/known_hosts", f"knownHosts: {own}")
    done = run("doctor", "--specs", str(hotsite.specs), "--format", "json")
    assert done.status == 3
    said = {one["about"]: one["what"] for one in json.loads(done.output)["findings"]
            if one["check"] == "host key"}
    assert set(said) == {"Host/paris-1", "Host/milan-1"}
    assert said["Host/paris-1"].count("SHA256:") == 2
    assert "is known as 10.78.0.21" in said["Host/milan-1"]
