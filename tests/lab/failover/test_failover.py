"""A site is lost, comes back, and its VMs go home: ordered by hand, on real hosts.

The guests' own records tell what was lost and whether one VM ever ran twice: each writes on from
the highest number that it finds on its disk.
"""

import re
from collections.abc import Iterator
from functools import partial

import pytest

from tests.lab.hotsite import Hotsite, Loop
from tests.lab.lab import Lab, Record, wait_until
from tests.lab.ready import rebuild

MACHINES = ("mail", "sql", "web")
OLD = ("paris-1", "paris-2")
NEW = ("milan-1", "milan-2")
ABOUT = "tests"


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hotsite]:
    """Protect the three VMs of paris, and leave empty hosts behind."""
    rebuild(lab)
    hotsite = Hotsite(tmp_path_factory.mktemp("failover"), protected=True)
    for path in sorted(hotsite.specs.glob("virtual_machine/*.yaml")):
        if path.stem not in MACHINES:
            path.write_text(re.sub(r"\n  protection: .*", "", path.read_text()))
    hotsite.edit("protection_policy", "gold", "rpo: 5m", "rpo: 20s")
    hotsite.edit("estate", "lab", "  limits:\n", "  failover: {suspectAfter: 4s}\n  limits:\n")
    hotsite.converge()
    yield hotsite
    rebuild(lab)


def host_of(lab: Lab, vm: str, hosts: tuple[str, ...]) -> str | None:
    """Return the host on which a VM runs; None if on none, and no test goes on if on two."""
    found = [host for host in hosts if vm in lab.running(host)]
    assert len(found) < 2, f"{vm} runs on {found}"
    return found[0] if found else None


def highest(lab: Lab, vm: str, hosts: tuple[str, ...]) -> Record:
    """Return the last record that a VM has written where it runs."""
    host = host_of(lab, vm, hosts)
    assert host is not None, f"{vm} runs nowhere"
    return lab.records(host, vm)[-1]


def wait_phase(loop: Loop, phase: str, limit_s: float = 240) -> None:
    """Wait until the failover of paris is in a phase."""
    loop.wait_sentence(f"failover Site/paris {phase}", limit_s=limit_s)


def wait_written(lab: Lab, vm: str, beyond: int, hosts: tuple[str, ...]) -> None:
    """Wait until a VM has written a record with a higher number than that."""
    wait_until(f"{vm} writes on", lambda: highest(lab, vm, hosts).number > beyond)


def test_a_lost_site_runs_elsewhere_comes_back_and_goes_home(lab: Lab, site: Hotsite) -> None:
    with site.running() as loop:
        for vm in MACHINES:
            wait_until(f"{vm} has a replica", partial(has_point, site, vm))
        before = {vm: highest(lab, vm, OLD) for vm in MACHINES}
        for host in OLD:
            lab.break_("power", host)
        wait_phase(loop, "suspected")

        ordered = site.ask("failover", "paris", "--why", ABOUT)

        assert ordered.status == 0, ordered.output + ordered.complaint
        assert "led-elsewhere" in ordered.output
        for vm in MACHINES:
            assert host_of(lab, vm, NEW) is not None
            wait_written(lab, vm, 0, NEW)
        moved = {vm: highest(lab, vm, NEW) for vm in MACHINES}
        for host in OLD:
            lab.mend("power", host)
        wait_phase(loop, "protected-reversed", 400)
        for vm in MACHINES:
            assert host_of(lab, vm, OLD) is None, "a returned host starts nothing"
            tail = tail_of(lab, vm)
            assert tail[-1].number >= before[vm].number, "what was written before is kept"

        back = site.ask("failback", "paris", "--name-again", "paris", "--why", ABOUT)

        assert back.status == 0, back.output + back.complaint
        for vm in MACHINES:
            assert host_of(lab, vm, NEW) is None
            wait_written(lab, vm, moved[vm].number, OLD)


def has_point(site: Hotsite, vm: str) -> bool:
    """Return whether a VM has a sound restore point."""
    rows = [line.split() for line in site.ask("get", "replicas").output.splitlines()]
    return any(row[0] == vm and "sound" in row for row in rows if row)


def tail_of(lab: Lab, vm: str) -> tuple[Record, ...]:
    """Return what the older copy of a VM holds, on whichever host it is defined."""
    for host in OLD:
        if vm in lab.virsh(host, "list", "--all", "--name").split():
            return lab.records(host, vm)
    raise AssertionError(f"{vm} is defined on none of {OLD}")
