"""Whether a link can carry the copies of a site's VMs within their RPO, before that is felt.

A VM needs so many bytes a second as its last increments held, over the time in which they were
written. The least needy are served first, so the number is the most that any order reaches. Of a VM
with less than two points nobody knows what it needs: it is counted apart.

Rule 1: only what is declared counts as a link's rate: a rate that was reached says what was sent,
        and not what could have been.
"""

from collections.abc import Iterable

from controller.model.replica import ReplicaFacts
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.steps.prediction import Window
from controller.plan.survey.survey import Survey

BITS = 8


def window_of(site: str, twin: str, machines: Iterable[ProtectedMachine],
              survey: Survey) -> Window | None:
    """Return what the links between two sites carry; None where one of them declares no rate."""
    names = survey.specs.links_between.get(frozenset((site, twin)), ())
    rates = [survey.desired.inter_site_links[name].spec.replication_bandwidth_bps for name in names]
    if not rates or any(rate is None for rate in rates):
        return None
    rate_bps = sum(rate for rate in rates if rate is not None)
    needs = [None if one.current is None else need_bps(one.current.replica) for one in machines]
    known = sorted(need for need in needs if need is not None)
    carried, taken = 0, 0.0
    for need in known:
        taken += need
        carried += taken <= rate_bps
    return Window(names, rate_bps, len(known), carried, len(needs) - len(known), sum(known))


def need_bps(replica: ReplicaFacts) -> float | None:
    """Return how many bits a second a VM's increments take; None where that is not known."""
    points = [one for one in replica.points if not one.diverged]
    span_s = points[-1].started_at - points[0].started_at if len(points) > 1 else 0.0
    if span_s <= 0:
        return None
    return BITS * sum(one.stored_bytes for one in points[1:]) / span_s
