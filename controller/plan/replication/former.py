"""Former disks: what a VM left on the host that it failed over or moved away from.

They become the base of its replica there, instead of a first copy: they are only read, what they
hold beyond the promoted point is kept as the tail, and only what differs is sent afterwards.
"""

from collections.abc import Iterator
from typing import Final

from controller.model.replica import STORE
from controller.model.units import render_duration
from controller.plan.actions.action import Cause
from controller.plan.actions.promotion import AdoptDisks
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.steps.draft import Draft
from controller.plan.survey.epochs import epoch_of
from controller.plan.survey.identity import Sighting
from controller.plan.survey.survey import Survey

RETURN_S: Final = 300.0
GONE: Final = ("promoting", "split", "led-elsewhere")
"""The phases in which no lost host has come back yet, as far as the record knows."""
TAIL_S: Final = 30 * 86400.0
"""How long a tail is kept unless a person lets it go before."""


def adopt_former(protected: ProtectedMachine, survey: Survey, draft: Draft) -> bool:
    """Plan that a VM's former disks become its replica; return whether a first copy must wait."""
    former = max(_former(protected, survey), default=None,
                 key=lambda one: (epoch_of(one.domain, survey.specs.names), one.host))
    if former is None:
        return _still_coming(protected, survey, draft)
    host, domain = former
    if any(one.host == host and one.replica.epoch >= survey.epochs[protected.name]
           and one.replica.promoted is None for one in protected.held):
        return False        # they were taken back, or could not be
    if domain.state.active:
        draft.remark(protected.target, f"{protected.name} has no replica at {protected.twin} before"
                     f" its older copy on {host} has ended")
        return True
    epoch = survey.epochs[protected.name]
    promoted = next((one for one in protected.held if one.host == protected.location.host
                     and f"failover-{epoch}" in one.replica.pins), None)
    record = next((one for one in survey.records.values()
                   if protected.name in one.machines), None)
    assert domain.config is not None, "it was asked for"
    # the replica's folder: in the pool of the first disk, else in the first pool
    pools = [pool.path for pool in survey.desired.hosts[host].spec.folders]
    own = domain.config.disks[0].source.rpartition("/")[0]
    draft.do(AdoptDisks(
        target=protected.target, node=host, uuid=domain.uuid, epoch=epoch,
        path=f"{(own if own in pools else pools[0]).rstrip('/')}/{STORE}/{domain.uuid}",
        estate=survey.estate_name,
        by=(record.by if record is not None else "") or "hotsite", until=survey.now_s + TAIL_S,
        size_bytes=sum(disk.size_bytes or 0 for disk in protected.disks),
        promoted_on="" if promoted is None else promoted.host,
        promoted_path="" if promoted is None else promoted.replica.path,
        promoted_point=0 if promoted is None else promoted.replica.pins[f"failover-{epoch}"],
        cause=Cause.DRIFT, reason=f"{protected.name} runs on {protected.location.host} with epoch"
        f" {epoch}, and {host} still has the disks of its older copy",
        consequence="they are read, not written; what they hold is kept as a point of its own"))
    return True


def _still_coming(protected: ProtectedMachine, survey: Survey, draft: Draft) -> bool:
    """Return whether the host with a VM's former disks may still come back with its site.

    Where power is back, one host answers minutes before another: a whole copy to whichever is first
    would be for nothing. The same after the loss of one host, whose site has others: it often boots
    again. Without it the VM has no replica, so that is not waited for without end.
    """
    for one in survey.superseded_unseen.get(protected.name, ()):
        record = next((each for each in survey.records.values() if one.host in each.hosts
                       and each.phase in (*GONE, "returning")), None)
        if record is None or one.host not in survey.unreachable:
            continue
        alone = record.scope.startswith("Host/")
        nobody = record.phase in GONE and not alone     # the first one answers only now
        if nobody or 0.0 <= survey.now_s - record.changed_at < RETURN_S:
            since = "its VMs started elsewhere" if alone else "the first host of its site came back"
            draft.remark(protected.target, (
                f"{protected.name} has no replica at {protected.twin} yet: its former disks are on"
                f" {one.host}, which is waited for until {render_duration(RETURN_S)} after"
                f" {since}"))
            return True
    return False


def _former(protected: ProtectedMachine, survey: Survey) -> Iterator[Sighting]:
    """Yield the older copies of a VM at its twin site whose host answers and takes replicas."""
    for one in survey.superseded.get(protected.name, ()):
        spec = survey.desired.hosts[one.host].spec
        if spec.site == protected.twin and not spec.maintenance and (
                one.domain.config is not None and one.domain.config.disks):
            yield one
