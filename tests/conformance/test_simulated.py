"""The suite on the estate in memory."""

from pathlib import Path

import pytest

from controller.source.load import load_folder
from tests.conformance.cases import CASES
from tests.conformance.stage import Case, play_simulated

SPECS = Path(__file__).parents[2] / "specs"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_simulator_behaves(case: Case) -> None:
    play_simulated(load_folder(SPECS), case)
