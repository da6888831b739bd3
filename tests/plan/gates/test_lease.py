"""What a controller may not do while it does not surely conduct."""

from dataclasses import replace

from controller.plan.actions.fencing import FenceHost
from controller.plan.actions.machine import StartDomain
from controller.plan.gates.gates import without_lease
from controller.plan.survey.context import LeaseView
from controller.plan.survey.survey import take_survey
from tests.plan import builders as b

LOST, OURS = LeaseView(False, 7, "the lease of term 7 ran out"), LeaseView(True, 7, "it is ours")
UUID = b.domain_uuid("lab", "sql")
START = StartDomain(target="VirtualMachine/sql", node="paris-1", reason="", domain="sql", uuid=UUID)
FENCE = FenceHost(target="Host/paris-1", node="paris-1", reason="")


def test_without_a_fresh_lease_nothing_from_failover_on_is_done() -> None:
    desired = b.small(b.vm("sql"))
    seen = b.as_declared(desired, {"sql": "paris-1"})
    rulings = {}
    for view in (None, OURS, LOST):
        survey = take_survey(desired, seen, replace(b.APPLIED, lease=view), b.NOW_S)
        rulings[view] = (without_lease(START, survey), without_lease(FENCE, survey))
    assert rulings[None] == rulings[OURS] == (None, None)
    below, above = rulings[LOST]
    assert below is None
    assert above is not None
    assert (above.rule, above.sentence) == ("lease", "the lease of term 7 ran out")
