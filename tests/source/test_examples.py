"""Every example and the lab's own specs load, and are as plausible as they claim."""

from pathlib import Path

import pytest

from controller.model.desired import Desired
from controller.source.load import load_folder

ROOT = Path(__file__).parent.parent.parent
FOLDERS = [ROOT / "specs", *sorted(path.parent for path in ROOT.glob("examples/*/estate.yaml"))]
TALK = ROOT / "examples/talk-2007"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_an_example_is_valid_and_names_its_schema(folder: Path) -> None:
    assert load_folder(folder).estate is not None
    for path in folder.rglob("*.yaml"):
        first, *_ = path.read_text().splitlines()
        schema = first.removeprefix("# yaml-language-server: $schema=")
        assert (path.parent / schema).resolve().parent == ROOT / "schemas", path
        assert (path.parent / schema).exists(), path


def fits(desired: Desired, site: str, names: list[str]) -> bool:
    """Whether the machines fit into the memory of the site's hosts, largest first."""
    free = {name: host.spec.capacity.memory_bytes - host.spec.reserve.memory_bytes
            for name, host in desired.hosts.items()
            if host.spec.site == site and host.spec.capacity is not None}
    sizes = [desired.virtual_machines[name].spec.memory_bytes for name in names]
    for size in sorted(sizes, reverse=True):
        host = max(free, key=lambda name: free[name])
        if free[host] < size:
            return False
        free[host] -= size
    return True


def test_the_talk_has_twelve_hosts_thirty_five_machines_and_eight_hundred_gigabytes() -> None:
    desired = load_folder(TALK)
    disks = [disk.size_bytes for machine in desired.virtual_machines.values()
             for disk in machine.spec.disks]
    assert len(desired.hosts) == 12
    assert len(desired.virtual_machines) == 35
    assert 750 << 30 < sum(disks) < 850 << 30


@pytest.mark.parametrize("site", ["paris", "milan"])
def test_each_site_of_the_talk_can_hold_its_own_and_everything(site: str) -> None:
    desired = load_folder(TALK)
    own = [name for name, machine in desired.virtual_machines.items()
           if machine.spec.placement.site == site]
    assert fits(desired, site, own)
    assert fits(desired, site, list(desired.virtual_machines))


def test_every_machine_of_the_talk_is_protected() -> None:
    machines = load_folder(TALK).virtual_machines.values()
    assert all(machine.spec.protection in {"gold", "silver"} for machine in machines)
