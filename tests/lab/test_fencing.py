"""Hosts of the lab are fenced by their BMCs: running, hung, off already, and out of reach."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.model.facts import Fact, Known
from controller.model.failover.power import PowerFacts
from controller.providers.redfish.bmc import Bmc
from controller.providers.redfish.fence import Timing
from controller.providers.redfish.hands import RedfishHands
from controller.source.load import load_folder
from tests.lab.lab import ROOT, Lab

HOST = "paris-2"


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
