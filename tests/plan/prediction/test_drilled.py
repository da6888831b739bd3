"""What drills have measured is predicted with, and how many are drilled is told with it."""

from dataclasses import replace

import pytest

from controller.model.facts import Known, Observed
from controller.model.replica import DrillFacts, DrillOutcome
from controller.plan.compute import compute
from controller.plan.prediction.sentence import render_basis
from controller.plan.prediction.tally import measured_boot
from controller.plan.steps.prediction import Prediction
from controller.plan.survey.context import Boot, Context
from tests.plan import builders as b
from tests.plan.prediction.test_predict import HERE, WHERE, paris, seen, two

DAY_S = 86400.0
PROVEN, FAILED = DrillOutcome.PROVEN, DrillOutcome.FAILED


def drill(age_s: float = DAY_S, outcome: DrillOutcome = PROVEN, boot_s: float | None = 1.6,
          health_s: float | None = 9.0) -> DrillFacts:
    """A drill that ended so long ago."""
    return DrillFacts(b.NOW_S - age_s, 12, outcome, "it runs", boot_s, health_s)


def drilled(observed: Observed, **drills: tuple[DrillFacts, ...]) -> Observed:
    """The same, with these drills of VMs' replicas in Milan."""
    fact = observed.nodes["milan-1"]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.replicas, Known)
    found = {uuid: replace(one, drills=drills.get(one.machine, ()))
             for uuid, one in fact.value.replicas.value.items()}
    return b.with_node(observed, "milan-1", Known(replace(
        fact.value, replicas=Known(found, b.NOW_S)), b.NOW_S))


def predicted(context: Context = HERE, **drills: tuple[DrillFacts, ...]) -> Prediction:
    """What the loss of Paris would come to, with these drills held."""
    desired = two(health={"agent": True})
    observed = drilled(seen(desired, WHERE, dict.fromkeys(WHERE, "milan-1")), **drills)
    return paris(compute(desired, observed, context, b.NOW_S))


def test_what_was_drilled_counts_as_measured_and_is_told_with_its_age() -> None:
    one = predicted(sql=(drill(),), web=(drill(3 * DAY_S),))
    assert (one.schedule.measured, one.schedule.drilled) == (2, 2)
    assert render_basis(one, b.NOW_S) == (
        "2 of 2 starts measured, the oldest 3d ago; 2 of 2 drilled, the oldest 3d ago")


def test_what_a_drill_has_not_proven_is_neither_measured_nor_drilled() -> None:
    one = predicted(sql=(drill(),), web=(drill(outcome=FAILED, boot_s=None, health_s=None),))
    assert render_basis(one, b.NOW_S) == (
        "1 of 2 starts measured, the oldest 1d ago, the rest assumed; 1 of 2 drilled, the oldest"
        " 1d ago")
    before = predicted(sql=(drill(),), web=(drill(5 * DAY_S), drill(DAY_S, FAILED, None, None)))
    assert (before.schedule.measured, before.schedule.drilled) == (2, 1)


def test_slow_boots_that_drills_have_seen_make_the_last_start_later() -> None:
    quick, slow = (predicted(sql=(drill(boot_s=s),), web=(drill(boot_s=s),)).schedule.last_start_s
                   for s in (0.5, 90.0))
    assert quick is not None
    assert slow is not None
    assert slow > quick


BOOT = Boot(0.5, b.NOW_S - DAY_S, 20.0)


@pytest.mark.parametrize(("boot", "drills", "expected"), [
    (None, (), None),
    (BOOT, (), BOOT),
    (None, (drill(),), Boot(0.4, b.NOW_S - DAY_S, 9.0)),
    (BOOT, (drill(2 * DAY_S),), BOOT),
    (BOOT, (drill(60),), Boot(0.4, b.NOW_S - 60, 9.0)),
    (BOOT, (drill(60, health_s=None),), Boot(0.4, b.NOW_S - 60, 20.0)),
    (replace(BOOT, boot_s=None), (drill(2 * DAY_S),), replace(BOOT, boot_s=9.0)),
    (BOOT, (drill(60, FAILED, None, None),), BOOT),
])
def test_the_newer_measurement_counts_and_the_older_fills_it_up(
        boot: Boot | None, drills: tuple[DrillFacts, ...], expected: Boot | None) -> None:
    assert measured_boot(boot, drills, 4) == expected
