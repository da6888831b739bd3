"""Copies of older epochs: what becomes of them once their VM was promoted elsewhere.

A host of a lost site comes back with domains that were running there. Their VMs run elsewhere by
now, on disks that go on from a restore point. Such a copy is ended before anything else is done
there, and libvirt's autostart of it is switched off; its definition and its disks stay, since they
hold what was written after the point. It is never started, moved, copied or patched by us. Who
starts it by hand sees it as a split brain until it is ended again.
"""

from controller.model.condition import Condition, ConditionType, Status
from controller.model.facts import runs
from controller.plan.actions.action import Ask, Cause
from controller.plan.actions.failover import EndStaleDomain
from controller.plan.actions.machine import DisableAutostart
from controller.plan.steps.draft import Draft
from controller.plan.survey.epochs import epoch_of
from controller.plan.survey.identity import Sighting
from controller.plan.survey.survey import Survey


def diff_superseded(survey: Survey, draft: Draft) -> None:
    """Plan to end every running copy of an older epoch, and to switch its autostart off."""
    for name in sorted(survey.superseded):
        for host, domain in survey.superseded[name]:
            if domain.state.active:
                _end(name, Sighting(host, domain), survey, draft)
            elif domain.autostart and domain.persistent:
                draft.do(DisableAutostart(
                    target=f"VirtualMachine/{name}", node=host,
                    domain=domain.name, uuid=domain.uuid,
                    reason=f"{host} would start {name} at its boot, and this copy of it is of an"
                           " older epoch", consequence="none for the running VM"))


def _end(name: str, copy: Sighting, survey: Survey, draft: Draft) -> None:
    host, domain = copy
    epoch, now = epoch_of(domain, survey.specs.names), survey.epochs[name]
    draft.do(EndStaleDomain(
        target=f"VirtualMachine/{name}", node=host, domain=domain.name, uuid=domain.uuid,
        epoch=epoch, ask=_only_copy(name, survey), cause=_cause(name, survey),
        reason=f"{name} is {domain.state} on {host} with epoch {epoch}, and it was promoted"
               f" elsewhere with epoch {now}",
        consequence="this copy ends; its disks stay, with all that was written after the restore"
                    " point"), rank=-1)


def _cause(name: str, survey: Survey) -> Cause:
    """Return HUMAN if a person ordered the failover that made a copy an older one."""
    return Cause.HUMAN if any(record.ordered and name in record.machines
                              for record in survey.records.values()) else Cause.DRIFT


def _only_copy(name: str, survey: Survey) -> Ask | None:
    """Return what is asked before a copy is ended while none of the present epoch is seen."""
    if name in survey.sightings:
        return None
    return Ask("only-copy", (
        f"no copy of {name} with epoch {survey.epochs[name]} is seen on any host: if this one ends,"
        " nothing that is seen serves it"))


def superseded_conditions(survey: Survey) -> list[Condition]:
    """Return SplitBrain for every VM of which a copy of an older epoch runs."""
    found = []
    for name in sorted(survey.superseded):
        hosts = [one.host for one in survey.superseded[name] if runs(one.domain)]
        if hosts:
            now = " and ".join(one.host for one in survey.sightings.get(name, ()))
            found.append(Condition(
                f"VirtualMachine/{name}", ConditionType.SPLIT_BRAIN, Status.TRUE, "OlderEpochRuns",
                f"{name} runs on {' and '.join(hosts)} with an older epoch than"
                f" {survey.epochs[name]}, which is {f'on {now}' if now else 'not seen'}: the older"
                " copy is ended", survey.desired.revision))
    return found
