"""Leaving real hosts: marks, checkpoints, guards and files go; guests do not notice."""

from pathlib import Path

import pytest

from tests.lab.hotsite import Hotsite
from tests.lab.lab import Lab

pytestmark = pytest.mark.usefixtures("converged")
HOSTS = ("paris-1", "paris-2", "milan-1", "milan-2")
LAB_S_OWN = {"boot_id", "memory_bytes", "product_uuid", "watchdog"}
"""What the lab itself keeps in /run/hotsite, to tell its hosts apart."""


@pytest.fixture(name="hotsite")
def hotsite_fixture(tmp_path_factory: pytest.TempPathFactory) -> Hotsite:
    """Protected VMs, and a guard on every host."""
    folder = tmp_path_factory.mktemp("uninstall")
    hotsite = Hotsite(folder, protected=True)
    key = folder / "guard.key"
    key.write_text("11" * 32 + "\n")
    key.chmod(0o600)
    estate = hotsite.path("estate", "lab")
    estate.write_text(estate.read_text().rstrip()
                      + f"\n  failover:\n    guard: {{keyFile: {key}}}\n")
    return hotsite


def running(lab: Lab) -> dict[str, str]:
    """Return the processes of guests, by host and domain."""
    return {f"{host}/{Path(path).stem}": lab.exec(host, "cat", path).strip()
            for host in HOSTS
            for path in lab.exec(host, "sh", "-c", "ls /run/libvirt/qemu/*.pid || true").split()}


def ours(lab: Lab) -> list[str]:
    """Return what of ours is on the hosts."""
    found = []
    for host in HOSTS:
        for name in lab.virsh(host, "list", "--all", "--name").split():
            for flags in ((), ("--inactive",)):
                xml = lab.virsh(host, "dumpxml", name, *flags)
                found += [f"{host}: {name} is marked"] if ":vm " in xml else []
            found += [f"{host}: {one} of {name}" for one in lab.virsh(
                host, "checkpoint-list", name, "--name").split()]
        files = lab.exec(host, "sh", "-c", "find /run/hotsite /var/lib/hotsite -type f || true")
        found += [f"{host}: {path}" for path in files.split() if Path(path).name not in LAB_S_OWN]
    return found


def test_everything_of_ours_goes_while_guests_run_on(converged: Lab, hotsite: Hotsite) -> None:
    hotsite.converge()
    before = running(converged)
    assert any("marked" in one for one in ours(converged))
    assert any("hotsite-0" in one for one in ours(converged))
    shown = hotsite.ask("uninstall", str(hotsite.specs), "--dry-run")
    assert shown.status == 2, shown.output
    assert "end-guard" in shown.output
    done = hotsite.ask("uninstall", str(hotsite.specs), "--yes")
    assert done.status == 0, done.output
    assert ours(converged) == []
    assert running(converged) == before
    again = hotsite.ask("uninstall", str(hotsite.specs), "--yes")
    assert again.status == 0, again.output
    assert running(converged) == before
