"""Addresses at which nobody could ask a guest how it does are told at their place."""

from pathlib import Path

import pytest

from controller.source.load import load_folder
from tests.source.check.sound import SOUND
from tests.source.check.test_check import problems_of

CARD = "mac: 52:54:00:12:34:56"
ASKED = SOUND.replace("{rpo: 5m}", "{rpo: 5m, health: {tcp: 5432}}")
OTHER = """\
---
kind: VirtualMachine
metadata: {name: other}
spec:
  memory: 1GiB
  nics: [{network: office, mac: 52:54:00:99:99:99, address: 10.2.0.21}]
"""


def addressed(text: str, address: str) -> str:
    """The specs with an address on the card of their VM."""
    assert CARD in text
    return text.replace(CARD, f"{CARD}, address: {address}")


def test_a_policy_that_asks_over_the_network_needs_an_address(tmp_path: Path) -> None:
    (told,) = problems_of(tmp_path, ASKED)
    assert "none of its cards has an `address`" in told
    assert problems_of(tmp_path, ASKED.replace("tcp: 5432", "agent: true")) == []


@pytest.mark.parametrize(("text", "sentence"), [
    (addressed(ASKED, "192.0.2.9"), "192.0.2.9 is not in the subnet 10.2.0.0/24"),
    (addressed(ASKED, "10.2.0.21") + OTHER, "10.2.0.21 is the address of"),
    (addressed(ASKED, "sql.example"), "address"),
])
def test_an_address_that_cannot_be_the_guests_is_told(tmp_path: Path, text: str,
                                                      sentence: str) -> None:
    (told,) = problems_of(tmp_path, text)
    assert sentence in told


def test_an_address_is_taken_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(addressed(ASKED, "10.2.0.21"))
    [vm] = load_folder(tmp_path).virtual_machines.values()
    assert str(vm.spec.nics[0].address) == "10.2.0.21"
