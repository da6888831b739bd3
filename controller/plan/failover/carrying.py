"""Whether the memory of a guest could go along to another host, by what both have told.

Whether the processor there can go on with it is asked by the hands, before the guest stands still.
"""

import re

from controller.model.facts import DomainFacts
from controller.plan.machine.capability import cannot_run
from controller.plan.survey.survey import Survey


def memory_blocker(domain: DomainFacts, source: str, target: str, survey: Survey) -> str | None:
    """Return why a guest could not go on with its memory on another host; None if it could.

    QEMU reads what an older one saved, and not what a newer one did.
    """
    why = cannot_run(domain, target, survey)
    if why is not None:
        return why
    held = [device.name for device in domain.live.devices
            if device.kind == "hostdev"] if domain.live is not None else []
    if held:
        return f"{', '.join(held)} of its host cannot be saved with it"
    ours, theirs = (survey.nodes[host].versions.get("qemu", "") if host in survey.nodes else ""
                    for host in (source, target))
    if not ours or not theirs:
        return f"the QEMU of {source if not ours else target} has not told its version"
    if _numbers(theirs) < _numbers(ours):
        return f"{target} has QEMU {theirs}, which does not read what {ours} on {source} saves"
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall("[0-9]+", version)[:2])
