"""The conformance suite on the lab: what the simulator says is what real hosts say."""

import asyncio
import time
from pathlib import Path

import pytest

from controller.model.desired import Desired
from controller.providers.base import Provider
from controller.reconcile.manager import linux_estate
from controller.source.load import load_folder
from tests.conformance.cases import CASES
from tests.conformance.stage import Case
from tests.lab.hotsite import Hotsite
from tests.lab.lab import Lab

SPECS = Path(__file__).parents[2] / "specs"
WORDS = {"kill": "vm", "tag": "vlan-tag", "trunk": "trunk-vlan", "ssh": "sshd",
         "libvirtd": "libvirtd"}


class LabStage:
    """The lab's estate over SSH, and the lab's own faults."""

    def __init__(self, desired: Desired, lab: Lab) -> None:
        self.desired = desired
        self.provider: Provider = linux_estate(desired, time.time)
        self._lab = lab

    def clock(self) -> float:
        """Return the instant now."""
        return time.time()

    def strike(self, fault: str) -> None:
        """Break something."""
        self._lab.run("break", *in_the_labs_words(fault))

    def mend(self, fault: str) -> None:
        """Mend it."""
        self._lab.run("mend", *in_the_labs_words(fault))


def in_the_labs_words(fault: str) -> list[str]:
    """Return a fault of the simulated estate as the lab says it."""
    word, *rest = fault.split()
    named = rest[:1] if word in {"ssh", "libvirtd"} else rest
    return [WORDS[word], *named]


@pytest.fixture(scope="module")
def replicated(converged: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab with a fresh replica of every guest, as the specs want it."""
    Hotsite(tmp_path_factory.mktemp("replicated"), protected=True).converge()
    return converged


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_lab_behaves_as_the_simulator(case: Case, replicated: Lab) -> None:
    desired = load_folder(SPECS)

    async def whole() -> None:
        stage = LabStage(desired, replicated)
        await stage.provider.declare(desired)
        try:
            await case(stage)
        finally:
            await stage.provider.close()

    asyncio.run(whole())
