"""Which `keep` restore points hang on: a smaller one in a commit lets nothing go as routine does.

Rule 1: what only the `keep` before this one keeps is dropped, not retired: that is a deletion.
Rule 2: where the one before is not known and the specs moved, it may have kept everything.
"""

from controller.model.protection_policy import KeepSpec
from controller.plan.actions.action import Cause
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.replication.retention import is_needed, kept
from controller.plan.steps.draft import Draft, cause_of
from controller.plan.survey.replicas import Held
from controller.plan.survey.survey import Survey


def dropped(protected: ProtectedMachine, current: Held, unkept: tuple[int, ...],
            survey: Survey) -> tuple[int, ...]:
    """Return those of the points that nothing keeps which the `keep` before this one did keep."""
    before = _wider(protected, survey)
    if before is None:
        return unkept
    stay = kept(current.replica.points, before)
    return tuple(sequence for sequence in unkept if sequence in stay)


def hangs_on(protected: ProtectedMachine, other: Held, current: Held, survey: Survey) -> bool:
    """Return whether a point of an older replica is still to be kept, by this `keep` or the last.
    """
    before = _wider(protected, survey)
    return before is None or is_needed(other.replica, current.replica, before)


def note_keep(protected: ProtectedMachine, survey: Survey, draft: Draft) -> None:
    """Note that a VM's points are kept by its `keep` now, once none hangs on the one before."""
    keep, before = protected.policy.keep, _wider(protected, survey)
    if before is keep:      # nearly always: nothing can hang on another one
        if protected.name not in survey.context.kept:
            draft.kept[protected.name] = keep
        return
    if protected.current is None or protected.stale or any(
            one.replica.unreadable for one in protected.held):
        return
    for one in protected.held:
        points = one.replica.points
        stay = {point.sequence for point in points} if before is None else kept(points, before)
        if stay - kept(points, keep):
            return
    draft.kept[protected.name] = keep


def _wider(protected: ProtectedMachine, survey: Survey) -> KeepSpec | None:
    """Return what this `keep` and the one before it keep together; None: all there is, maybe."""
    before, keep = survey.context.kept.get(protected.name), protected.policy.keep
    if before is not None and (before.last, before.hourly, before.daily) == (
            keep.last, keep.hourly, keep.daily):
        return keep
    if before is not None:
        return KeepSpec(last=max(before.last, keep.last), hourly=max(before.hourly, keep.hourly),
                        daily=max(before.daily, keep.daily))
    moved = cause_of(survey.context, f"VirtualMachine/{protected.name}",
                     f"ProtectionPolicy/{protected.vm.spec.protection}") is Cause.COMMIT
    return None if moved else keep
