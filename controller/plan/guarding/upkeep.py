"""Guards and grantors that do not run, or go by something else than declared, are set right.

A grantor keeps the hosts that it hears although they left the specs: else their guards would end
the guests of a host for the reason that somebody removed it from git. They are forgotten once they
have been silent for an hour.

Where the specs declare no key any more, guards end, each after all its grantors know of it, and
then, once every host is seen to have none, the grantors. While a failover is not over, all go on:
it may rest on what they say.
"""

from controller.failover.states import Phase
from controller.model.facts import Fact, Known, Unknown
from controller.model.failover.guard import (
    GrantorAddress,
    GrantorFacts,
    GrantorOrders,
    GuardFacts,
)
from controller.plan.actions.guarding import InstallGrantor, InstallGuard
from controller.plan.actions.leaving import EndGrantor
from controller.plan.guarding.orders import AllOrders, grantor_orders, orders_of
from controller.plan.leaving.leaving import end_guard, grantor_runs, guard_runs
from controller.plan.steps.draft import Draft, cause_of
from controller.plan.survey.survey import Survey

FORGOTTEN_S = 3600.0


def diff_guards(survey: Survey, draft: Draft) -> None:
    """Plan what makes every guard and grantor run, and go by what is declared."""
    orders = orders_of(survey.desired)
    if not orders.grantors:
        _diff_no_guards(survey, draft)
        return
    for name in sorted(orders.grantors):
        if name in survey.nodes and name not in survey.lost:
            _diff_grantor(name, orders, survey, draft)
    for name in sorted(orders.guards):
        if name in survey.nodes and name not in survey.lost:
            _diff_guard(name, orders, survey, draft)


def _diff_no_guards(survey: Survey, draft: Draft) -> None:
    """Plan that guards end which nobody declares any more, then those who granted to them."""
    seen = {name: facts for name, facts in survey.nodes.items() if name not in survey.lost}
    guards = [name for name in sorted(survey.desired.hosts) if name in seen
              and guard_runs(seen[name])]
    grantors = [name for name in sorted(seen) if grantor_runs(seen[name])]
    if not guards and not grantors:
        return
    key = f"Estate/{survey.estate_name}"
    opened = [one.scope for one in survey.records.values() if one.phase != Phase.CALM]
    unseen = [name for name in sorted(survey.desired.hosts)
              if name not in seen or isinstance(seen[name].guard, Unknown)]
    if opened:
        draft.remark(key, "no guard is declared any more, and the guards go on until the failover"
                     f" of {opened[0]} is over")
        return
    cause, why = cause_of(survey.context, key), "the specs declare no guard any more"
    for name in guards:
        draft.do(end_guard(name, seen, cause, why))
    if unseen and grantors:
        draft.remark(key, f"the grantors of {', '.join(grantors)} go on: {', '.join(unseen)} may"
                     " have a guard, which would end its guests without them", unknown=True)
    for name in grantors if not guards and not unseen else ():
        draft.do(EndGrantor(target=target_of(name, survey), node=name, cause=cause, reason=why,
                            consequence="nobody asks it any more"))


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
