"""How soon what is lost is proven off, and for what a person is needed before that.

    silent ──► suspected ──► agreed ──► proven off ──► starts
           suspectAfter      places     guard or BMC

A guard's wait runs from the loss on, since a host that is lost asks for no more grants. A BMC is
asked once its host is suspected. Of a whole site the BMCs are counted on only where nothing else
is left, and that is said: they are likely to be lost with it.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from controller.failover.inequality import wait_s
from controller.failover.quorum import LEAST_PLACES
from controller.model.document import Rung
from controller.plan.guarding.grants import grantors_of, has_watchdog, is_guarded
from controller.plan.survey.controller import controller_inside
from controller.plan.survey.survey import Survey

BMC_S: Final = 10.0
"""Assumed: from a BMC's order until it was read Off twice."""


class Proofs(NamedTuple):
    """How soon all of some hosts are proven off."""

    after_s: float
    """From their loss on, with a person's word at once where one is needed."""
    unproven: tuple[str, ...]
    """Hosts that only a person's word proves off."""
    by_bmc: tuple[str, ...]
    """Hosts of a lost site that only their BMCs prove off."""
    by_guard: frozenset[str]
    """Hosts of which a guard alone is the proof: guests that go on there are not covered."""


def proofs_of(hosts: Iterable[str], survey: Survey, *, whole_site: bool) -> Proofs:
    """Return how soon some hosts that are lost together are proven off, and by whom."""
    spec = survey.desired.estate.spec.failover
    suspected_s = after_s = spec.suspect_after_s
    unproven, by_bmc, by_guard = [], [], set()
    for host in sorted(hosts):
        declared = survey.desired.hosts[host].spec
        bmc = declared.bmc is not None and "redfish" in declared.fencing
        if (not bmc or whole_site) and _guard_proves(host, survey):
            by_guard.add(host)
            after_s = max(after_s, wait_s(spec.guard, watchdog=has_watchdog(host, survey)))
        elif bmc:
            by_bmc += [host] if whole_site else []
            after_s = max(after_s, suspected_s + BMC_S)
        else:
            unproven.append(host)
    return Proofs(after_s, tuple(unproven), tuple(by_bmc), frozenset(by_guard))


def _guard_proves(host: str, survey: Survey) -> bool:
    """Return whether the guard of a host will prove that its guests are gone."""
    spec = survey.desired.hosts[host].spec
    return ("guard" in spec.fencing and is_guarded(host, survey)
            and bool(grantors_of(host, survey))
            and (has_watchdog(host, survey) or spec.bmc is not None or spec.accept_freeze))


def needs_person(site: str, survey: Survey, *, whole_site: bool) -> str:
    """Return why no failover of a site, or of its hosts, begins without a person; empty where one
    may."""
    inside = controller_inside(survey)
    if inside:
        return inside.partition(":")[0]
    own, lost = survey.context.place, site if whole_site else None
    if own is not None and own == lost:
        return f"this controller stands at {site} itself"
    witnesses = (one.spec.place for one in survey.desired.witnesses.values())
    places = sorted({one for one in (own, *witnesses) if one is not None and one != lost})
    if len(places) >= LEAST_PLACES:
        return ""
    return "two places have to agree that it is lost, and " + (
        f"only {places[0]} could tell" if places else "nobody could tell")


def grant_lacks(machine: str, nodes: tuple[str, ...], survey: Survey) -> str:
    """Return which object's `autonomy` leaves the failover of a VM to a person; empty if none."""
    grants = survey.specs.grants
    if len(grants.own) == 1:    # only the Estate has one
        return "" if grants.estate[1].height >= Rung.FAILOVER.height else grants.estate[0]
    own = grants.own.get(f"VirtualMachine/{machine}")
    found = [grants.around.get(node, grants.estate) for node in nodes]
    if own is not None:
        found[0] = f"VirtualMachine/{machine}", own
    name, rung = min(found, key=lambda one: one[1].height)
    return name if rung.height < Rung.FAILOVER.height else ""
