"""Scopes: VM within host within site within estate; the nearest that speaks wins."""

from collections.abc import Iterator

from controller.model.desired import Desired
from controller.model.document import Rung, Scope
from controller.plan.instants import parse_instant_at
from controller.plan.policy import Suspension
from controller.plan.survey import Survey


def scopes(target: str, nodes: tuple[str, ...], desired: Desired) -> Iterator[tuple[str, Scope]]:
    """Yield the scopes around a target, nearest first: itself, its nodes, their sites, the estate.
    """
    kind, _, name = target.partition("/")
    if kind == "VirtualMachine" and name in desired.virtual_machines:
        yield target, desired.virtual_machines[name].spec
    sites: dict[str, None] = {}
    for node in nodes:
        if node in desired.hosts:
            yield f"Host/{node}", desired.hosts[node].spec
            sites[desired.hosts[node].spec.site] = None
        elif node in desired.switches:
            yield f"Switch/{node}", desired.switches[node].spec
            sites[desired.switches[node].spec.site] = None
    for site in sites:
        if site in desired.sites:
            yield f"Site/{site}", desired.sites[site].spec
    yield f"Estate/{desired.estate.name}", desired.estate.spec


def granted(target: str, nodes: tuple[str, ...], desired: Desired) -> tuple[str, Rung]:
    """Return the nearest scope that grants a rung, and the rung.

    Of several nodes (a migration's two ends) the one that grants less speaks for its level.
    """
    best: tuple[int, str, Rung] | None = None
    level = {"VirtualMachine": 0, "Host": 1, "Switch": 1, "Site": 2, "Estate": 3}
    for name, scope in scopes(target, nodes, desired):
        if scope.autonomy is None:
            continue
        at = level[name.partition("/")[0]]
        if best is None or at < best[0]:
            best = (at, name, scope.autonomy)
        elif at == best[0] and scope.autonomy.height < best[2].height:
            best = (at, name, scope.autonomy)
    assert best is not None, "the estate always grants a rung"
    return best[1], best[2]


def paused_by(target: str, nodes: tuple[str, ...], survey: Survey) -> Suspension | None:
    """Return the suspension that holds a target back, nearest first; None when none does."""
    by_hand = {one.target: one for one in survey.policy.suspensions
               if one.until_at > survey.now_s}
    for name, scope in scopes(target, nodes, survey.desired):
        if name in by_hand:
            return by_hand[name]
        if scope.suspend is not None:
            until_at = parse_instant_at(scope.suspend.until)
            if until_at > survey.now_s:
                return Suspension(name, scope.suspend.by, scope.suspend.why, until_at)
    return by_hand.get(target)


def every_scope(desired: Desired) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield every object that can be paused, with the nodes that stand for it."""
    yield f"Estate/{desired.estate.name}", ()
    for site in sorted(desired.sites):
        yield f"Site/{site}", ()
    for kind, names in (("Host", desired.hosts), ("Switch", desired.switches)):
        for name in sorted(names):
            yield f"{kind}/{name}", (name,)
    for name in sorted(desired.virtual_machines):
        yield f"VirtualMachine/{name}", ()
