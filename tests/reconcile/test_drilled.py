"""Whether a drill by hand has proven a point: only what was noted since it began counts."""

from dataclasses import replace

import pytest

from controller.model.replica import DrillFacts, DrillOutcome
from controller.reconcile.export import _is_proven

BEFORE = DrillFacts(1000.0, 7, DrillOutcome.PROVEN, "its guest agent answers")


@pytest.mark.parametrize(("last", "before", "proven"), [
    (replace(BEFORE, at=2000.0), BEFORE, True),
    (BEFORE, None, True),
    (BEFORE, BEFORE, False),
    (None, None, False),
    (replace(BEFORE, at=2000.0, sequence=8), BEFORE, False),
    (replace(BEFORE, at=2000.0, outcome=DrillOutcome.BOOTED), BEFORE, False),
])
def test_a_proof_of_before_is_none_of_a_drill_that_was_cut_off(
        last: DrillFacts | None, before: DrillFacts | None, proven: bool) -> None:
    assert _is_proven(last, before, 7) == proven
