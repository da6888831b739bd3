"""Real domains under other names are recognised, and no VM is created or started twice."""

from pathlib import Path

import pytest

from tests.lab.hotsite import Hotsite
from tests.lab.lab import Lab

pytestmark = pytest.mark.usefixtures("converged")
HOST = "milan-2"


@pytest.fixture
def hotsite(tmp_path: Path) -> Hotsite:
    """Give specs and a state folder of its own to each test."""
    return Hotsite(tmp_path)


def names(lab: Lab, host: str) -> set[str]:
    """Every domain of a host, on or off."""
    return set(lab.virsh(host, "list", "--all", "--name").split())


def pid(lab: Lab, host: str, vm: str) -> str:
    """The process of a guest."""
    return lab.exec(host, "cat", f"/run/libvirt/qemu/{vm}.pid").strip()


def test_what_was_renamed_by_hand_is_not_made_again(lab: Lab, hotsite: Hotsite) -> None:
    before = names(lab, HOST)
    lab.virsh(HOST, "destroy", "builder")
    checkpoints = lab.virsh(HOST, "checkpoint-list", "builder", "--name").split()
    for one in checkpoints:     # libvirt renames nothing that has one
        lab.virsh(HOST, "checkpoint-delete", "builder", one, "--metadata")
    lab.virsh(HOST, "domrename", "builder", "builder-old")
    plan = hotsite.plan().output
    assert "under the name builder-old" in " ".join(plan.split())
    hotsite.apply()
    assert names(lab, HOST) == before - {"builder"} | {"builder-old"}
    assert "builder-old" not in lab.running(HOST)
    lab.virsh(HOST, "domrename", "builder-old", "builder")
    hotsite.converge()
    assert "builder" in lab.running(HOST)


def test_a_vm_is_renamed_in_the_specs_while_it_runs(lab: Lab, hotsite: Hotsite) -> None:
    before = pid(lab, HOST, "builder")
    text = hotsite.path("virtual_machine", "builder").read_text()
    new = text.replace("name: builder,", "name: smith,").replace(
        "  power: on\n", "  power: on\n  formerly: builder\n")
    hotsite.declare("virtual_machine", "smith", new)
    hotsite.path("virtual_machine", "builder").unlink()
    hotsite.converge()
    assert pid(lab, HOST, "builder") == before
    assert "smith" not in names(lab, HOST)
    for flags in ((), ("--inactive",)):
        assert 'name="smith"' in lab.virsh(HOST, "dumpxml", *flags, "builder")
    hotsite.declare("virtual_machine", "smith", new.replace("  formerly: builder\n", ""))
    assert hotsite.plan().status == 0
    lab.virsh(HOST, "destroy", "builder")
    hotsite.converge()
    assert "builder" in lab.running(HOST)
    hotsite.path("virtual_machine", "smith").unlink()
    hotsite.declare("virtual_machine", "builder",
                    text.replace("  power: on\n", "  power: on\n  formerly: smith\n"))
    hotsite.converge()
    assert 'name="builder"' in lab.virsh(HOST, "dumpxml", "builder")
