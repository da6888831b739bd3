"""Removal on real hosts: disks set aside, checkpoints deleted, hidden pools respected."""

import pytest

from tests.lab.hotsite import Hotsite
from tests.lab.lab import Lab, wait_until
from tests.lab.witness import IMAGES

pytestmark = pytest.mark.usefixtures("converged")
DISK = f"{IMAGES}/fresh-vda.qcow2"
SPEC = """kind: VirtualMachine
metadata: {name: fresh}
spec:
  power: off
  memory: 64MiB
  disks: [{name: vda, size: 8MiB}]
  placement: {host: milan-2}
  deletion: delete
"""


@pytest.fixture(name="hotsite")
def hotsite_fixture(tmp_path_factory: pytest.TempPathFactory) -> Hotsite:
    """Specs and state of a test's own."""
    return Hotsite(tmp_path_factory.mktemp("removal"))


def names(lab: Lab) -> list[str]:
    """The files of fresh on its host."""
    found = lab.exec("milan-2", "sh", "-c", f"ls {IMAGES}").split()
    return [name for name in found if name.startswith("fresh-")]


def test_a_removed_vms_disk_is_set_aside_given_back_and_purged(
        converged: Lab, hotsite: Hotsite) -> None:
    hotsite.edit("estate", "lab", "  autonomy: restart\n", "  autonomy: delete\n")
    hotsite.limit(deletes=1, removalGrace="1s", purgeAfter="1h")
    hotsite.declare("virtual_machine", "fresh", SPEC)
    hotsite.converge()
    converged.exec("milan-2", "qemu-io", "-f", "qcow2", "-c", "write -P 7 0 64k", DISK)
    hotsite.path("virtual_machine", "fresh").unlink()
    first = hotsite.apply()
    assert first.status == 2
    assert "waits (grace)" in " ".join(first.output.split())
    assert names(converged) == ["fresh-vda.qcow2"]
    wait_until("the disk to be set aside", lambda: hotsite.apply().status == 0 and names(
        converged)[0].startswith("fresh-vda.qcow2.hotsite-removed-"))
    assert "fresh" not in converged.virsh("milan-2", "list", "--all", "--name")
    hotsite.declare("virtual_machine", "fresh", SPEC)
    hotsite.converge()
    assert names(converged) == ["fresh-vda.qcow2"]
    read = converged.exec("milan-2", "qemu-io", "-f", "qcow2", "-c", "read -P 7 0 64k", DISK)
    assert "verification failed" not in read
    hotsite.path("virtual_machine", "fresh").unlink()
    wait_until("the disk to be set aside again", lambda: hotsite.apply().status == 0 and names(
        converged) != ["fresh-vda.qcow2"])
    hotsite.edit("estate", "lab", "purgeAfter: 1h", "purgeAfter: 0s")
    wait_until("the disk to be purged", lambda: hotsite.apply().status == 0
               and names(converged) == [])


def test_a_vm_that_is_no_longer_protected_can_be_undefined_again(
        converged: Lab, hotsite: Hotsite) -> None:
    def ours() -> list[str]:
        return converged.virsh("milan-2", "checkpoint-list", "builder", "--name").split()

    hotsite.limit(removalGrace="0s")
    hotsite.edit("virtual_machine", "builder", "  memory:", "  protection: gold\n  memory:")
    hotsite.converge()
    assert any(name.startswith("hotsite-") for name in ours())
    hotsite.edit("virtual_machine", "builder", "  protection: gold\n", "")
    hotsite.converge()
    assert ours() == []
    info = converged.exec("milan-2", "qemu-img", "info", "-U", f"{IMAGES}/builder-vda.qcow2")
    assert "hotsite-" not in info


def test_a_pool_that_something_else_is_mounted_over_is_not_empty(
        converged: Lab, hotsite: Hotsite) -> None:
    hotsite.converge()
    converged.exec("milan-2", "mount", "-t", "tmpfs", "tmpfs", IMAGES)
    try:
        told = " ".join(hotsite.plan().output.split())
        assert "accept-pool default" in told
        assert "lies on tmpfs tmpfs" in told
        assert "create-disk" not in told
    finally:
        converged.exec("milan-2", "umount", IMAGES)
    assert "accept-pool" not in hotsite.plan().output
