"""Fencing through BMCs that answer as real ones do, well and badly: each gets the right answer."""

import asyncio
from pathlib import Path

import pytest

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.model.facts import Known
from tests.providers.redfish.bmcs import (
    QUICK,
    UUID,
    Bmc,
    Certificate,
    Machine,
    bmc_of,
    redfish,
)

FENCES = ("plain", "idrac", "ilo", "openbmc", "supermicro", "task202", "flaky", "empty-body",
          "chassis")
DOES_NOT: dict[str, tuple[type[ActionError], str, bool]] = {
    "slow-off": (OutcomeUnknown, "still says PoweringOff within 1.5 s", True),
    "stuck": (OutcomeUnknown, "still says PoweringOff", True),
    "liar": (OutcomeUnknown, "still says On", True),
    "null-state": (OutcomeUnknown, "still says no word", True),
    "hangs": (Unavailable, "it took too long", False),
    "http500": (Unavailable, "HTTP 500: it is not ready yet", False),
    "html": (Unavailable, "its answer is not Redfish", False),
    "two": (Refused, "2 systems are behind the BMC of paris-1 (1, other-1)", False),
    "no-forceoff": (Refused, "offers no ForceOff, only On, GracefulShutdown", False),
    "flood": (Unavailable, "it said more than 1 MiB", False),
    "moved": (Refused, "sends us to another server, '192.0.2.1'", False),
}


async def fenced(bmc: Bmc) -> str:
    """Fence and log out."""
    try:
        return await bmc.fence()
    finally:
        await bmc.close()


def test_every_dialect_of_the_lab_has_its_answer_here() -> None:
    assert set(redfish.DIALECTS) == {*FENCES, *DOES_NOT}


@pytest.mark.parametrize("dialect", FENCES)
def test_a_host_is_fenced(dialect: str, folder: Path, certificate: Certificate) -> None:
    with Machine(dialect, certificate).serving() as machine:
        bmc = bmc_of(machine, folder)
        sentence = asyncio.run(fenced(bmc))
        assert sentence.startswith("cut the power of paris-1: its BMC reads Off twice, after ")
        assert not machine.on
        assert machine.bmc.sessions == set()
        assert isinstance(bmc.fact, Known)
        assert (bmc.fact.value.is_off, bmc.fact.value.system_uuid) == (True, UUID)


@pytest.mark.parametrize("dialect", FENCES)
def test_a_host_that_is_off_is_told_nothing(dialect: str, folder: Path,
                                            certificate: Certificate) -> None:
    with Machine(dialect, certificate).serving() as machine:
        machine.on = False
        assert "found no power on paris-1" in asyncio.run(fenced(bmc_of(machine, folder)))
        assert machine.bmc.force_offs == 0


@pytest.mark.parametrize("dialect", DOES_NOT)
def test_a_host_is_not_fenced_and_it_is_said_why(dialect: str, folder: Path,
                                                 certificate: Certificate) -> None:
    error, words, told = DOES_NOT[dialect]
    with Machine(dialect, certificate).serving() as machine:
        with pytest.raises(error) as raised:
            asyncio.run(fenced(bmc_of(machine, folder, answer_s=0.5)))
        assert words in str(raised.value)
        assert "paris-1" in str(raised.value)
        assert bool(machine.bmc.force_offs) == told
        assert machine.on or dialect == "null-state"


def test_what_was_taken_and_forgotten_is_said_again(folder: Path, certificate: Certificate) -> None:
    with Machine("liar", certificate).serving() as machine:
        with pytest.raises(OutcomeUnknown):
            asyncio.run(fenced(bmc_of(machine, folder)))
        assert 3 <= machine.bmc.force_offs <= 1 + QUICK.limit_s / QUICK.forgotten_s


def test_the_named_one_of_two_systems_is_switched(folder: Path, certificate: Certificate) -> None:
    with Machine("two", certificate).serving() as machine:
        assert "cut the power" in asyncio.run(fenced(bmc_of(machine, folder, system="1")))
        with pytest.raises(Refused, match=r"no system `3` behind the BMC of paris-1: there are 1,"):
            asyncio.run(fenced(bmc_of(machine, folder, system="3")))


def test_a_bmc_is_watched_before_while_and_after(folder: Path, certificate: Certificate) -> None:
    async def whole(machine: Machine) -> list[str]:
        bmc, seen = bmc_of(machine, folder), []
        for step in ("On", "fence", "Off", "back"):
            if step == "fence":
                await bmc.fence()
            machine.on = machine.on or step == "back"
            fact = await bmc.observe()
            assert isinstance(fact, Known)
            seen.append(f"{fact.value.state} {fact.value.off_reads}")
        await bmc.close()
        return seen

    with Machine("idrac", certificate).serving() as machine:
        assert asyncio.run(whole(machine)) == ["On 0", "Off 2", "Off 2", "On 0"]


def test_what_is_not_heard_keeps_what_was_heard_before(folder: Path,
                                                       certificate: Certificate) -> None:
    async def whole(machine: Machine) -> None:
        bmc = bmc_of(machine, folder)
        assert isinstance(await bmc.observe(), Known)
        machine.dialect = "http500"
        fact = await bmc.observe()
        assert not isinstance(fact, Known)
        assert (fact.reason, fact.last.state) == (
            "the BMC of paris-1 answers HTTP 500: it is not ready yet", "On")
        machine.dialect = "two"
        bmc.declare(bmc_of(machine, folder, system="9")._spec)
        refused = await bmc.observe()
        assert isinstance(refused, Known)
        assert "no system `9`" in refused.value.refusal
        assert not refused.value.is_off
        await bmc.close()

    with Machine("plain", certificate).serving() as machine:
        asyncio.run(whole(machine))
