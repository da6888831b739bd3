"""Conditions of hosts that can be fenced: whether their BMCs could, and would prove it."""

from controller.failover.power import fenceable
from controller.model.condition import Condition, ConditionType
from controller.plan.survey.survey import NEVER_ASKED, Survey


def fence_conditions(survey: Survey) -> list[Condition]:
    """Return Fenceable of every host whose BMC is asked, and may fence it."""
    found = []
    hosts, observed = survey.desired.hosts, survey.observed
    for host in sorted(observed.powers):
        if host in hosts and host not in survey.lost and "redfish" in hosts[host].spec.fencing:
            verdict = fenceable(host, observed.powers[host],
                                observed.nodes.get(host, NEVER_ASKED), survey.now_s)
            found.append(Condition(f"Host/{host}", ConditionType.FENCEABLE, *verdict,
                                   survey.desired.revision))
    return found
