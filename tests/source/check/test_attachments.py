"""What is wrong with where a host says that it has a network, told at its place."""

from pathlib import Path

import pytest

from tests.source.check.sound import SOUND
from tests.source.check.test_check import problems_of

EDITS = {
    "a network that is attached and does not exist": (
        "  capacity: {memory: 16GiB, cpus: 8}",
        "  capacity: {memory: 16GiB, cpus: 8}\n  attachments: [{network: offic, bridge: br7}]",
        "31:27: there is no Network `offic`: write `office`",
    ),
    "a network that is attached twice": (
        "  capacity: {memory: 16GiB, cpus: 8}",
        "  capacity: {memory: 16GiB, cpus: 8}\n  attachments:\n"
        "  - {network: office, bridge: br7}\n  - {network: office, libvirtNetwork: nat}",
        "33:15: network `office` is attached twice: remove one",
    ),
    "a network at two places of one host": (
        "  capacity: {memory: 16GiB, cpus: 8}",
        "  capacity: {memory: 16GiB, cpus: 8}\n"
        "  attachments: [{network: office, bridge: br7, libvirtNetwork: nat}]",
        (
            "31:17: `attachments[0]`: a network is attached at one place: write one of `bridge:`"
            " and `libvirtNetwork:`"
        ),
    ),
    "a VLAN on one of libvirt's networks": (
        "  capacity: {memory: 16GiB, cpus: 8}",
        "  capacity: {memory: 16GiB, cpus: 8}\n"
        "  attachments: [{network: office, libvirtNetwork: nat, vlan: 7}]",
        "31:17: `attachments[0]`: libvirt's own networks carry no VLANs: leave `vlan:` out",
    ),
}


@pytest.mark.parametrize("what", EDITS)
def test_a_contradiction_is_told_at_its_place(tmp_path: Path, what: str) -> None:
    old, new, expected = EDITS[what]
    assert SOUND.count(old) >= 1
    assert f"a.yaml:{expected}" in problems_of(tmp_path, SOUND.replace(old, new, 1))


@pytest.mark.parametrize("driver", ["linuxbridge", "none"])
def test_a_host_may_have_linux_bridges_and_no_switch(tmp_path: Path, driver: str) -> None:
    lines = SOUND.splitlines(keepends=True)
    without = "".join(lines).replace("  capacity: {memory: 16GiB, cpus: 8}",
                                     f"  capacity: {{memory: 16GiB, cpus: 8}}\n  driver: {driver}")
    assert problems_of(tmp_path, without) == []
