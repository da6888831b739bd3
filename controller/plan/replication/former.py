"""Former disks: what a VM left on the host that it failed over or moved away from.

They become the base of its replica there, instead of a first copy: they are only read, what they
hold beyond the promoted point is kept as the tail, and only what differs is sent afterwards.
"""

from collections.abc import Iterator
from typing import Final

from controller.model.facts import DomainFacts
from controller.model.replica import STORE
from controller.plan.actions.action import Cause
from controller.plan.actions.promotion import AdoptDisks
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.steps.draft import Draft
from controller.plan.survey.epochs import epoch_of
from controller.plan.survey.identity import Sighting
from controller.plan.survey.survey import Survey

TAIL_S: Final = 30 * 86400.0
"""How long a tail is kept unless a person lets it go before."""


def adopt_former(protected: ProtectedMachine, survey: Survey, draft: Draft) -> bool:
    """Plan that a VM's former disks become its replica; return whether a first copy must wait."""
    former = max(_former(protected, survey), default=None,
                 key=lambda one: (epoch_of(one.domain, survey.specs.names), one.host))
    if former is None:
        return False
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
    draft.do(AdoptDisks(
        target=protected.target, node=host, uuid=domain.uuid, epoch=epoch,
        path=_folder(domain, host, survey), estate=survey.estate_name,
        by=(record.by if record is not None else "") or "hotsite", until=survey.now_s + TAIL_S,
        size_bytes=sum(disk.size_bytes or 0 for disk in protected.disks),
        promoted_on="" if promoted is None else promoted.host,
        promoted_path="" if promoted is None else promoted.replica.path,
        promoted_point=0 if promoted is None else promoted.replica.pins[f"failover-{epoch}"],
        cause=Cause.DRIFT, reason=f"{protected.name} runs on {protected.location.host} with epoch"
        f" {epoch}, and {host} still has the disks of its older copy",
        consequence="they are read, not written; what they hold is kept as a point of its own"))
    return True


def _former(protected: ProtectedMachine, survey: Survey) -> Iterator[Sighting]:
    """Yield the older copies of a VM at its twin site whose host answers and takes replicas."""
    for one in survey.superseded.get(protected.name, ()):
        spec = survey.desired.hosts[one.host].spec
        if spec.site == protected.twin and not spec.maintenance and (
                one.domain.config is not None and one.domain.config.disks):
            yield one


def _folder(domain: DomainFacts, host: str, survey: Survey) -> str:
    """Return the replica's folder: in the pool of the first disk, else in the first pool."""
    assert domain.config is not None, "it was asked for"
    pools = [pool.path for pool in survey.desired.hosts[host].spec.pools]
    own = domain.config.disks[0].source.rpartition("/")[0]
    return f"{(own if own in pools else pools[0]).rstrip('/')}/{STORE}/{domain.uuid}"
