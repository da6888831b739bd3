"""Exit statuses: the outcome of a verb as one number."""

from enum import IntEnum

from controller.plan.output.review import Review
from controller.plan.steps.plan import Plan, Verdict

HELD = frozenset({Verdict.REFUSED, Verdict.NEEDS_APPROVAL})


class ExitStatus(IntEnum):
    """The exit statuses of all verbs."""

    DONE = 0
    FAILED = 1
    PENDING = 2
    REFUSED = 3
    INVALID = 4
    UNKNOWN = 5


def status_of_plan(plan: Plan) -> ExitStatus:
    """Return the exit status for a plan that is only shown."""
    if any(step.ruling.verdict is not Verdict.REFUSED for step in plan.steps):
        return ExitStatus.PENDING
    return _status_of_rest(plan)


def status_of_review(found: Review) -> ExitStatus:
    """Return the exit status for a review: by what the change brings, not by what comes anyway."""
    if any(step.ruling.verdict is not Verdict.REFUSED for step in found.brought):
        return ExitStatus.PENDING
    if found.brought or found.stranded or any(not one.unknown for one in found.remarks):
        return ExitStatus.REFUSED
    return ExitStatus.UNKNOWN if found.remarks else ExitStatus.DONE


def status_of_run(plan: Plan, *, failed: bool) -> ExitStatus:
    """Return the exit status for a run that left `plan`."""
    if failed:
        return ExitStatus.FAILED
    if any(step.ruling.verdict not in HELD for step in plan.steps):
        return ExitStatus.PENDING
    return _status_of_rest(plan)


def _status_of_rest(plan: Plan) -> ExitStatus:
    """Return the exit status when no step can be done now; a person may have to act."""
    if plan.steps or plan.waits:
        return ExitStatus.REFUSED
    if any(remark.unknown for remark in plan.remarks):
        return ExitStatus.UNKNOWN
    return ExitStatus.DONE
