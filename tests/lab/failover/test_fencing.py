"""Old copies are kept from doing harm: by their hosts' BMCs, and by the switches of the others."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.model.facts import Fact, Known
from controller.model.failover.power import PowerFacts
from controller.plan.actions.fencing import AdmitAddresses, DropAddresses
from controller.providers.linux.estate import LinuxEstate
from controller.providers.redfish.bmc import Bmc
from controller.providers.redfish.fence import Timing
from controller.providers.redfish.hands import RedfishHands
from controller.source.load import load_folder
from controller.transport.ssh import SshTransport
from tests.lab.lab import ROOT, Lab, wait_until

HOST = "paris-2"


PROBES = {"paris-1": ("52:54:00:5a:00:01", "10.90.0.1"), "paris-2": ("52:54:00:5a:00:02",
          "10.90.0.2"), "milan-1": ("52:54:00:5a:00:03", "10.90.0.3")}
"""By host: address of an interface there, on a VLAN that nobody else uses."""


@pytest.fixture
def probes(fresh_lab: Lab) -> Iterator[Lab]:
    """A lab in which three hosts have an interface on one VLAN, and reach each other by it."""
    for host, (mac, address) in PROBES.items():
        fresh_lab.ovs(host, "add-port", "br0", "probe0", "tag=909", "--", "set", "interface",
                      "probe0", "type=internal", f'mac="{mac}"')
        fresh_lab.exec(host, "ip", "address", "add", f"{address}/24", "dev", "probe0")
        fresh_lab.exec(host, "ip", "link", "set", "probe0", "up")
    for host in ("paris-1", "paris-2"):
        wait_until(f"{host} reaches milan-1", partial(reaches, fresh_lab, host, "milan-1"))
    yield fresh_lab
    for host in PROBES:
        fresh_lab.ovs(host, "--if-exists", "del-port", "br0", "probe0")


def reaches(lab: Lab, host: str, other: str) -> bool:
    """Say whether one probe gets an answer from another."""
    words = ("exec", host, "--", "ping", "-c", "1", "-W", "1", PROBES[other][1])
    return lab.ask(*words).status == 0


def test_the_survivors_switch_drops_what_an_old_copy_sends_and_nothing_else(probes: Lab) -> None:
    mac = PROBES["paris-1"][0]

    async def dropped(estate: LinuxEstate) -> list[tuple[str, str, int]]:
        fact = await estate.observe("milan-sw")
        assert isinstance(fact, Known)
        assert isinstance(fact.value.dropped, Known)
        return [(one.port, one.mac, one.epoch) for one in fact.value.dropped.value]

    async def whole() -> None:
        estate = LinuxEstate(SshTransport(), time.time)
        await estate.declare(load_folder(ROOT / "specs"))
        try:
            assert await dropped(estate) == []
            sys.stdout.write(await estate.apply(DropAddresses(
                target="Switch/milan-sw", node="milan-sw", reason="paris is lost", bridge="br0",
                ports=("tr0", "tr1"), macs=(mac,), epoch=7)) + "\n")
            assert await dropped(estate) == [("tr0", mac, 7), ("tr1", mac, 7)]
            assert not any(reaches(probes, "paris-1", "milan-1") for _ in range(3))
            assert reaches(probes, "paris-2", "milan-1")
            assert reaches(probes, "paris-1", "paris-2")
            sys.stdout.write(await estate.apply(AdmitAddresses(
                target="Switch/milan-sw", node="milan-sw", reason="paris is off", bridge="br0",
                macs=(mac,))) + "\n")
            assert await dropped(estate) == []
        finally:
            await estate.close()

    asyncio.run(whole())
    wait_until("paris-1 reaches milan-1", partial(reaches, probes, "paris-1", "milan-1"))


@pytest.fixture
def victim(lab: Lab) -> Iterator[Lab]:
    """A lab whose host is on, and is switched on again afterwards."""
    mend(lab)
    yield lab
    mend(lab)


def mend(lab: Lab) -> None:
    """Give the host its power and its BMC."""
    lab.mend("bmc-dialect", HOST)
    lab.mend("bmc", HOST)
    if lab.nodes()[HOST] == "hung":
        lab.mend("hang", HOST)
    lab.mend("power", HOST)


def fenced() -> tuple[str, Fact[PowerFacts], float]:
    """Fence the host as its spec says; return the sentence or the error, the fact, and the time."""
    spec = load_folder(ROOT / "specs").hosts[HOST].spec.bmc
    assert spec is not None

    async def whole() -> tuple[str, Fact[PowerFacts], float]:
        bmc = Bmc(HOST, spec, time.time, Timing(limit_s=15.0))
        begun_s = time.monotonic()
        try:
            said = await bmc.fence()
        except ActionError as error:
            said = f"{type(error).__name__}: {error}"
        took_s = time.monotonic() - begun_s
        fact = await bmc.observe()
        await bmc.close()
        return said, fact, took_s

    return asyncio.run(whole())


def test_the_bmc_tells_the_uuid_that_the_host_reads(victim: Lab) -> None:
    said = victim.exec(HOST, "cat", "/run/hotsite/product_uuid").strip()

    async def whole() -> None:
        hands = RedfishHands(time.time)
        await hands.declare(load_folder(ROOT / "specs"))
        fact = await hands.observe_power(HOST)
        assert isinstance(fact, Known)
        assert (fact.value.state, fact.value.system_uuid) == ("On", said)
        await hands.close()

    asyncio.run(whole())


@pytest.mark.parametrize(("strike", "sentence"), [
    (lambda _: None, "cut the power of paris-2"),
    (lambda lab: lab.break_("hang", HOST), "cut the power of paris-2"),
    (lambda lab: lab.break_("power", HOST), "found no power on paris-2"),
    (lambda lab: lab.break_("bmc-dialect", HOST, "openbmc"), "cut the power of paris-2"),
], ids=["running", "hung", "off", "slow to go off"])
def test_a_host_is_fenced(strike: Callable[[Lab], None], sentence: str, victim: Lab) -> None:
    strike(victim)
    said, fact, took_s = fenced()
    sys.stdout.write(f"{said} (the call took {took_s:.1f} s)\n")
    assert said.startswith(f"{sentence}: its BMC reads Off twice")
    assert victim.nodes()[HOST] == "off"
    assert isinstance(fact, Known)
    assert fact.value.is_off


@pytest.mark.parametrize(("strike", "error", "sentence"), [
    (lambda lab: lab.break_("bmc", HOST), Unavailable,
     "cannot be reached: no connection within 3 s"),
    (lambda lab: lab.break_("bmc-dialect", HOST, "liar"), OutcomeUnknown, "still says On"),
    (lambda lab: lab.break_("bmc-dialect", HOST, "no-forceoff"), Refused, "offers no ForceOff"),
], ids=["off its network", "liar", "no ForceOff"])
def test_a_host_is_not_fenced_and_runs_on(strike: Callable[[Lab], None], error: type[ActionError],
                                          sentence: str, victim: Lab) -> None:
    strike(victim)
    said, fact, took_s = fenced()
    sys.stdout.write(f"{said} (the call took {took_s:.1f} s)\n")
    assert said.startswith(error.__name__)
    assert sentence in said
    assert victim.nodes()[HOST] == "on"
    assert not (isinstance(fact, Known) and fact.value.is_off)
