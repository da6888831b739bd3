"""BMCs as the estate has them: declared, asked, changed, and logged out of."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from controller.errors import Refused
from controller.model.desired import Desired
from controller.model.facts import Absent, Known
from controller.plan.actions.fencing import FenceHost
from controller.providers.redfish.hands import RedfishHands
from tests.providers.redfish.bmcs import Certificate, Machine, spec_of
from tests.reconcile.stage import lab
from tests.simulation.estates import with_host


def declaring(*machines: Machine, folder: Path) -> Desired:
    """Return the lab's specs with these BMCs, and no others."""
    desired = lab()
    for index, host in enumerate(sorted(desired.hosts)):
        spec = spec_of(machines[index], folder) if index < len(machines) else None
        desired = with_host(desired, host, bmc=spec)
    return desired


def test_each_host_has_its_own_and_what_left_is_logged_out_of(folder: Path,
                                                              certificate: Certificate) -> None:
    async def whole(one: Machine, other: Machine) -> None:
        hands = RedfishHands(lambda: 5.0)
        await hands.declare(declaring(one, other, folder=folder))
        for host in ("milan-1", "milan-2"):
            assert isinstance(await hands.observe_power(host), Known)
        assert (len(one.bmc.sessions), len(other.bmc.sessions)) == (1, 1)
        assert await hands.observe_power("paris-1") == Absent(5.0)
        with pytest.raises(Refused, match="Host/paris-1 declares no BMC"):
            await hands.apply(FenceHost(target="Host/paris-1", node="paris-1", reason="r"))
        await hands.declare(declaring(one, folder=folder))
        assert (len(one.bmc.sessions), len(other.bmc.sessions)) == (1, 0)
        assert await hands.observe_power("milan-2") == Absent(5.0)
        await hands.declare(declaring(other, folder=folder))
        await hands.observe_power("milan-1")
        assert (len(one.bmc.sessions), len(other.bmc.sessions)) == (0, 1)
        await hands.close()
        assert not other.bmc.sessions

    with Machine("plain", certificate).serving() as one, (
            Machine("plain", certificate).serving()) as other:
        asyncio.run(whole(one, other))


def test_http_is_not_loaded_before_a_bmc_is_asked() -> None:
    code = ("import sys, controller.providers.linux.estate\n"
            "sys.stdout.write(str('httpx' in sys.modules))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          timeout=60)
    assert done.stdout == "False"
