"""Which older restore point a person asked for, by order or by the record of a failover."""

from collections.abc import Iterable

from controller.failover.states import Phase
from controller.plan.promotion.point import NEWEST, Asked, parse_asked
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.survey.survey import Survey


def asked_of(lost: Iterable[ProtectedMachine], survey: Survey) -> dict[str, Asked]:
    """Return, by VM, the older point that a person asked for; the nearest order counts."""
    points = {one.target: one.point for one in survey.context.failovers if one.point}
    for record in survey.records.values():
        points |= {} if record.phase == Phase.CALM else record.points
    found = {}
    for one in lost if points else ():
        near = (f"VirtualMachine/{one.name}", f"Group/{one.vm.spec.group}", f"Host/{one.host}",
                f"Site/{one.site}")
        asked = parse_asked(next((points[target] for target in near if target in points), ""))
        if asked != NEWEST:
            found[one.name] = asked
    return found
