"""Whether a BMC is its host's, and whether it could be counted on, judged in peacetime."""

from dataclasses import replace

import pytest

from controller.failover.power import distrust, fenceable, same_uuid
from controller.model.facts import Absent, Fact, Hardware, Known, NodeFacts, Unknown
from controller.model.failover.power import PowerFacts

UUID = "4c4c4544-0043-5a10-8051-b9c04f4d3132"
SWAPPED = "44454c4c-4300-105a-8051-b9c04f4d3132"
OTHER = "4c4c4544-0043-5a10-8051-b9c04f4d3133"
NOW_S = 1_000_000.0
ON = PowerFacts("On", UUID, ("On", "ForceOff"))
NODE = NodeFacts("paris-1", "boot", 0.0, Known(Hardware(1, 1, 1, 0.0, "x86_64"), 0.0), {},
                 Absent(0.0), Absent(0.0), Absent(0.0), product_uuid=UUID)


def seen(at: float = NOW_S - 5, **more: str) -> Fact[NodeFacts]:
    """The host, which answered then."""
    return Known(replace(NODE, **more), at)


@pytest.mark.parametrize(("power", "status", "reason", "words"), [
    (Known(ON, NOW_S), "true", "BmcAnswers", "its BMC reads On"),
    (Known(replace(ON, resets=()), NOW_S), "true", "BmcAnswers", "its BMC reads On"),
    (Known(replace(ON, system_uuid=SWAPPED), NOW_S), "true", "BmcAnswers", "its BMC reads On"),
    (Known(replace(ON, system_uuid=""), NOW_S), "true", "BmcAnswers",
     "its BMC reads On; nobody could compare its system UUID with the host's"),
    (Known(replace(ON, state="Off", off_reads=2, off_since_at=NOW_S), NOW_S), "true", "BmcAnswers",
     "its BMC reads Off"),
    (Known(replace(ON, state=""), NOW_S), "false", "NoState", "tells no power state"),
    (Known(replace(ON, resets=("On", "Nmi")), NOW_S), "false", "NoForceOff", "only On, Nmi"),
    (Known(PowerFacts("", refusal="it refuses the password"), NOW_S), "false", "Refused",
     "it refuses the password"),
    (Known(replace(ON, system_uuid=OTHER), NOW_S), "false", "AnotherMachine", OTHER),
    (Unknown("it is dark", NOW_S - 60), "unknown", "BmcSilent",
     "its BMC was not reached since 1970-01-12 13:45:40 UTC: it is dark"),
    (Unknown("it is dark", NOW_S - 60, ON, NOW_S - 86399), "unknown", "BmcSilent", "it is dark"),
    (Unknown("it is dark", NOW_S - 60, ON, NOW_S - 86401), "false", "BmcSilent",
     "After 1d nobody should count on it"),
    (Unknown("it is dark", NOW_S - 86401), "false", "BmcSilent", "it is dark"),
    (Unknown("it is dark", NOW_S, replace(ON, system_uuid=OTHER), NOW_S - 9), "false",
     "AnotherMachine", "is another machine's"),
])
def test_each_answer_has_its_verdict(power: Fact[PowerFacts], status: str, reason: str,
                                     words: str) -> None:
    found = fenceable("paris-1", power, seen(), NOW_S)
    assert (found[0], found[1]) == (status, reason)
    assert words in found[2]


@pytest.mark.parametrize(("off_since_at", "heard_at", "read_at", "contradicts"), [
    (NOW_S - 60, NOW_S - 30, NOW_S, True),
    (NOW_S - 60, NOW_S - 61, NOW_S, False),     # it answered before
    (NOW_S - 60, NOW_S - 59, NOW_S, False),     # its answer was on its way
    (NOW_S - 60, NOW_S - 10, NOW_S - 20, False),     # it may have power again since
])
def test_a_host_that_answers_while_its_bmc_reads_off_is_not_its_host(
        off_since_at: float, heard_at: float, read_at: float, contradicts: bool) -> None:
    power = Known(replace(ON, state="Off", off_reads=2, off_since_at=off_since_at), read_at)
    assert bool(distrust("paris-1", power, seen(heard_at))) is contradicts


def test_what_nobody_knows_is_no_reason_for_distrust() -> None:
    for node in (seen(product_uuid=""), Unknown("silent", 0.0), Absent(0.0)):
        assert distrust("paris-1", Known(replace(ON, system_uuid=OTHER), NOW_S), node) == ""
    assert distrust("paris-1", Unknown("never asked", 0.0), seen()) == ""
    assert "another machine's" in distrust(
        "paris-1", Known(replace(ON, system_uuid=OTHER), NOW_S),
        Unknown("silent", NOW_S, replace(NODE), NOW_S - 9))


@pytest.mark.parametrize(("one", "other", "same"), [
    (UUID, UUID.upper(), True), (UUID, SWAPPED, True), (SWAPPED, UUID, True),
    (UUID, OTHER, False), (UUID.replace("-", ""), UUID, True), (UUID, "", False)])
def test_uuids_are_compared_in_both_byte_orders(one: str, other: str, same: bool) -> None:
    assert same_uuid(one, other) is same
