"""Healthy: whether a VM serves as its policy wants it to, wherever and since whenever it runs."""

from collections.abc import Iterator, Mapping
from typing import Final

from controller.failover.situation import Progress
from controller.model.condition import Condition, ConditionType, Status
from controller.plan.failover.health import all_told, health_of, ran_s
from controller.plan.machine.state import Location, MachineState
from controller.plan.survey.survey import Survey

ANSWERS: Final = {
    Progress.HEALTHY: (Status.TRUE, "Serves"),
    Progress.STARTING: (Status.UNKNOWN, "Starting"),
    Progress.UNPROVEN: (Status.UNKNOWN, "NotProven"),
    Progress.UNHEALTHY: (Status.FALSE, "DoesNotServe"),
}


def health_conditions(locations: Mapping[str, Location], survey: Survey) -> Iterator[Condition]:
    """Yield Healthy of every VM that runs and whose health is declared."""
    all_of_them = all_told(survey) if survey.specs.healths else {}
    for name, health in sorted(survey.specs.healths.items()):
        location = locations[name]
        host, domain = location.host, location.domain
        if location.state is not MachineState.RUNNING or host is None or domain is None:
            continue
        told, ran_for_s = all_of_them.get(domain.uuid, ()), ran_s(domain.uuid, host, survey)
        if ran_for_s is None:
            status, reason, sentence = (Status.UNKNOWN, "Starting",
                                        f"{host} has not been asked yet how it does")
        else:
            found = health_of(domain, health, ran_for_s, told)
            (status, reason), sentence = ANSWERS[found.progress], found.sentence
        yield Condition(f"VirtualMachine/{name}", ConditionType.HEALTHY, status, reason, sentence,
                        survey.desired.revision)
