"""A controller that runs in a VM of the estate."""

from dataclasses import replace

import pytest

from controller.model.condition import ConditionType, Status
from controller.model.facts import Observed
from controller.plan.compute import compute
from controller.plan.survey.controller import controller_inside
from controller.plan.survey.survey import take_survey
from controller.reconcile.report.news import is_well
from tests.plan import builders as b

UUID = b.domain_uuid("lab", "sql")
SWAPPED = "".join((UUID[6:8], UUID[4:6], UUID[2:4], UUID[0:2], "-", UUID[11:13], UUID[9:11], "-",
                   UUID[16:18], UUID[14:16], UUID[18:]))
DESIRED = b.small(b.vm("sql"))


def seen() -> Observed:
    """Everything as declared."""
    return b.as_declared(DESIRED, {"sql": "paris-1"})


@pytest.mark.parametrize("uuid", [UUID, UUID.upper(), SWAPPED])
def test_it_is_noticed_in_whichever_order_the_firmware_writes_its_bytes(uuid: str) -> None:
    inside = replace(b.APPLIED, machine_uuid=uuid)
    plan = compute(DESIRED, seen(), inside, b.NOW_S)
    (found,) = [one for one in plan.conditions if one.type is ConditionType.CONTROLLER_INSIDE]
    assert (found.target, found.status, is_well(found)) == ("Estate/lab", Status.TRUE, False)
    assert "inside VM sql" in found.message


def test_a_host_that_fell_silent_does_not_make_it_forgotten() -> None:
    inside = replace(b.APPLIED, machine_uuid=UUID)
    cut = b.silenced(seen(), "paris-1")
    assert "inside VM sql" in controller_inside(take_survey(DESIRED, cut, inside, b.NOW_S))


@pytest.mark.parametrize("uuid", ["", "not known", "00000000-0000-0000-0000-000000000000"])
def test_any_other_machine_is_outside(uuid: str) -> None:
    outside = replace(b.APPLIED, machine_uuid=uuid)
    assert controller_inside(take_survey(DESIRED, seen(), outside, b.NOW_S)) == ""
    assert all(one.type is not ConditionType.CONTROLLER_INSIDE
               for one in compute(DESIRED, seen(), outside, b.NOW_S).conditions)
