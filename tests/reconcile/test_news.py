"""What counts as well, and what is worth a line."""

import pytest

from controller.model.condition import Condition, ConditionType, Status
from controller.reconcile.news import is_well


@pytest.mark.parametrize(("kind", "status", "reason", "well"), [
    (ConditionType.READY, Status.TRUE, "AsDeclared", True),
    (ConditionType.READY, Status.UNKNOWN, "Silent", False),
    (ConditionType.CONNECTED, Status.TRUE, "AllMembersUp", True),
    (ConditionType.CONNECTED, Status.TRUE, "Degraded", False),
    (ConditionType.STALLED, Status.TRUE, "TwoRunningCopies", False),
])
def test_what_holds_but_is_degraded_is_not_well(
        kind: ConditionType, status: Status, reason: str, well: bool) -> None:
    assert is_well(Condition("InterSiteLink/metro", kind, status, reason, "", "r1")) is well
