"""Two copies that ran at once: a guest that was ended only after its host had been proven off.

A guard proves that the guests of a silent host are gone, unless that host stands still: frozen by
its kernel, its memory or whoever runs it, it goes on where it was, and its guests with it, until
its guard has looked around. A watchdog outside the host would have cut its power; where none is
declared this is the price, and it is told with its length. The disks are local, so nothing is
overwritten by it: what the old copy wrote is on its old disks alone.
"""

from controller.model.facts import Known
from controller.model.failover.guard import Tombstone
from controller.model.failover.record import Record
from controller.model.units import render_duration, render_instant
from controller.plan.guarding.grants import guard_of
from controller.plan.survey.survey import Survey


def breach_of(machine: str, record: Record | None, survey: Survey) -> str:
    """Return how long the old copy of a VM may have run beside the new one; empty if it did not."""
    if record is None or machine not in record.machines or (
            survey.epochs.get(machine, 0) > record.epoch):
        return ""       # it has been moved since: what a guard ends now is no old copy
    uuid = record.machines[machine].uuid
    for host, recorded in record.hosts.items():
        fact, guard = survey.observed.nodes.get(host), guard_of(host, survey)
        if not recorded.proven_at or guard is None or not isinstance(fact, Known):
            continue
        tomb = next((one for one in guard.tombstones if one.uuid == uuid), None)
        if tomb is None:
            continue
        late_s = tomb.at - fact.value.clock_offset_s - recorded.proven_at
        if late_s > fact.value.clock_error_s:
            return _sentence(machine, host, tomb, late_s, record, survey)
    return ""


def _sentence(machine: str, host: str, tomb: Tombstone, late_s: float, record: Record,
              survey: Survey) -> str:
    spec = survey.desired.estate.spec.failover.guard
    # ending it takes its time after the tombstone, too
    ran_s = max(0.0, late_s - tomb.still_s) + spec.tick_s + spec.kill_s
    still = (f", since {host} had stood still for {render_duration(tomb.still_s)}"
             if tomb.still_s else "")
    return (f"two copies of {machine} ran at once, for {render_duration(ran_s)} at"
            f" most: the guard of {host} ended the old one at {render_instant(tomb.at)},"
            f" {render_duration(late_s)} after {host} was proven off{still}; what it wrote is on"
            f" its old disks alone, and {record.machines[machine].node} has the VM")
