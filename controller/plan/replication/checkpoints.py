"""Checkpoints: those of ours are dropped from a VM that is no longer protected.

Rule 1: libvirt undefines no domain that has a checkpoint, and QEMU resizes no image with its
        bitmaps. They go with the protection that they were made for, after the grace period.
"""

from controller.model.facts import DomainFacts
from controller.model.replica import our_checkpoints
from controller.plan.actions.action import Cause
from controller.plan.actions.replica import DropCheckpoints, images_with_bitmaps
from controller.plan.replication.upkeep import LATER_RANK
from controller.plan.steps.draft import Draft, counted
from controller.plan.survey.survey import Survey


def diff_checkpoints(survey: Survey, draft: Draft) -> None:
    """Plan to drop our checkpoints from every VM that is declared without protection."""
    for name in survey.specs.unprotected:
        for host, domain in survey.sightings.get(name, ()):
            if domain.checkpoints and domain.job is None and not domain.unknown:
                _drop(name, host, domain, survey, draft)


def _drop(name: str, host: str, domain: DomainFacts, survey: Survey, draft: Draft) -> None:
    ours = our_checkpoints(domain.checkpoints)
    if not ours or domain.ownership is None or (
            domain.ownership.estate not in survey.specs.names.estates):
        return
    draft.do(DropCheckpoints(
        target=f"Replica/{name}", node=host, domain=domain.name, uuid=domain.uuid,
        checkpoints=ours, paths=images_with_bitmaps(domain.live or domain.config),
        cause=Cause.COMMIT,
        reason=f"{name} is declared without `protection`, and has"
               f" {counted(len(ours), 'checkpoint')} of ours on {host}",
        consequence="libvirt lets it be undefined again; were it protected once more, the next copy"
                    " would compare its disks as a whole"), rank=LATER_RANK + 3)
