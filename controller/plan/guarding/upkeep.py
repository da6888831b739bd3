"""Guards and grantors that do not run, or go by something else than declared, are set right.

A grantor keeps the hosts that it hears although they left the specs: else their guards would end
the guests of a host for the reason that somebody removed it from git. They are forgotten once they
have been silent for an hour.
"""

from controller.model.facts import Fact, Known
from controller.model.failover.guard import (
    GrantorAddress,
    GrantorFacts,
    GrantorOrders,
    GuardFacts,
)
from controller.plan.actions.guarding import InstallGrantor, InstallGuard
from controller.plan.guarding.orders import AllOrders, grantor_orders, orders_of
from controller.plan.steps.draft import Draft, cause_of
from controller.plan.survey.survey import Survey

FORGOTTEN_S = 3600.0


def diff_guards(survey: Survey, draft: Draft) -> None:
    """Plan what makes every guard and grantor run, and go by what is declared."""
    orders = orders_of(survey.desired)
    if not orders.grantors:
        return
    for name in sorted(orders.grantors):
        if name in survey.nodes and name not in survey.lost:
            _diff_grantor(name, orders, survey, draft)
    for name in sorted(orders.guards):
        if name in survey.nodes and name not in survey.lost:
            _diff_guard(name, orders, survey, draft)


def target_of(node: str, survey: Survey) -> str:
    """Return `Host/name` or `Witness/name`."""
    return f"Host/{node}" if node in survey.desired.hosts else f"Witness/{node}"


def _diff_grantor(name: str, orders: AllOrders, survey: Survey, draft: Draft) -> None:
    fact: Fact[GrantorFacts] = survey.nodes[name].grantor
    if not isinstance(fact, Known):
        return
    told = with_kept(orders.grantors[name], fact.value, orders)
    why = _why(fact.value, told.digest)
    if why:
        target = target_of(name, survey)
        draft.do(InstallGrantor(
            target=target, node=name, orders=told, reason=f"the grantor of {name} {why}",
            cause=cause_of(survey.context, f"Estate/{survey.estate_name}", target),
            consequence="hosts that ask it are answered; no VM is touched"))


def with_kept(told: GrantorOrders, seen: GrantorFacts, orders: AllOrders) -> GrantorOrders:
    """Return what a grantor is told, with the hosts that left the specs and that it still hears."""
    kept = {host for host in (*seen.hears, *(one for one, age_s in seen.silent.items()
                                             if age_s < FORGOTTEN_S))
            if host not in orders.guards}
    if not kept:
        return told
    at = GrantorAddress(told.name, told.address, told.port)
    return grantor_orders(at, {*told.hosts, *kept}, told.key_file)


def _diff_guard(name: str, orders: AllOrders, survey: Survey, draft: Draft) -> None:
    fact: Fact[GuardFacts] = survey.nodes[name].guard
    if not isinstance(fact, Known):
        return
    told = orders.guards[name]
    why = _why(fact.value, told.digest)
    if why:
        draft.do(InstallGuard(
            target=f"Host/{name}", node=name, orders=told, reason=f"the guard of {name} {why}",
            cause=cause_of(survey.context, f"Estate/{survey.estate_name}", f"Host/{name}"),
            consequence=f"cut off from all of {', '.join(one.name for one in told.grantors)} for"
                        f" {told.deadline_s:g} s, {name} ends the VMs whose policy says so"))


def _why(seen: GuardFacts | GrantorFacts, digest: str) -> str:
    if not seen.running:
        return "does not run"
    if seen.digest != digest:
        return "goes by something else than what is declared now"
    return "runs another program, or has another key, than this controller's" if (
        seen.outdated) else ""
