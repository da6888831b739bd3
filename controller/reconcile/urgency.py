"""How urgent an action is: the class of its target in the queue."""

from controller.model.document import Rung
from controller.plan.actions import Action, Cause, ResumeDomain, StartDomain
from controller.reconcile.queue import Priority


def urgency_of(action: Action) -> Priority:
    """Return the class: a person first, then what is down, then commits, then other drift.

    A copy is routine; one that is late, or that mends something, is as urgent as other drift.
    """
    if action.cause is Cause.HUMAN:
        return Priority.HUMAN
    if action.cause is Cause.ROUTINE or (
            action.rung is Rung.REPLICATE and action.cause is Cause.COMMIT):
        return Priority.PERIODIC
    if action.cause is Cause.COMMIT:
        return Priority.COMMIT
    down = isinstance(action, StartDomain | ResumeDomain) or action.rung is Rung.FAILOVER
    return Priority.EMERGENCY if down else Priority.HEAL
