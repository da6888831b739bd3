"""Scopes: VM within host within site within estate; the nearest that speaks wins."""

from collections.abc import Iterator

from controller.model.desired import Desired
from controller.model.document import Rung, Scope
from controller.model.host import Host
from controller.model.inter_site_link import InterSiteLink
from controller.model.network import Network
from controller.model.site import Site
from controller.model.switch import Switch
from controller.model.virtual_machine import VirtualMachine
from controller.plan.instants import parse_instant_at
from controller.plan.policy import Suspension
from controller.plan.survey import Survey

LEVELS = {"Host": 1, "Switch": 1, "Site": 2, "Estate": 3}
"""How far a scope is from what stands in it; everything else is the object itself."""


def scope_of(target: str, desired: Desired) -> Scope | None:
    """Return what a declared object says about how far healing goes."""
    kind, _, name = target.partition("/")
    found: VirtualMachine | Host | Switch | Site | Network | InterSiteLink | None = None
    if kind == "VirtualMachine":
        found = desired.virtual_machines.get(name)
    elif kind == "Host":
        found = desired.hosts.get(name)
    elif kind == "Switch":
        found = desired.switches.get(name)
    elif kind == "Site":
        found = desired.sites.get(name)
    elif kind == "Network":
        found = desired.networks.get(name)
    elif kind == "InterSiteLink":
        found = desired.inter_site_links.get(name)
    elif target == f"Estate/{desired.estate.name}":
        return desired.estate.spec
    return None if found is None else found.spec


def scopes(target: str, nodes: tuple[str, ...], desired: Desired) -> Iterator[tuple[str, Scope]]:
    """Yield the scopes around a target, nearest first: itself, its nodes, their sites, the estate.
    """
    target = by_name(target)
    itself = scope_of(target, desired)
    if itself is not None:
        yield target, itself
    sites: dict[str, None] = {}
    for node in nodes:
        for kind, found in (("Host", desired.hosts.get(node)),
                            ("Switch", desired.switches.get(node))):
            if found is not None:
                sites[found.spec.site] = None
                if f"{kind}/{node}" != target:
                    yield f"{kind}/{node}", found.spec
    for site in sites:
        if site in desired.sites and f"Site/{site}" != target:
            yield f"Site/{site}", desired.sites[site].spec
    if target != f"Estate/{desired.estate.name}":
        yield f"Estate/{desired.estate.name}", desired.estate.spec


def by_name(target: str) -> str:
    """Return the declared object that a target stands for: a replica stands for its VM."""
    kind, _, name = target.partition("/")
    return f"VirtualMachine/{name}" if kind == "Replica" else target


def granted(target: str, nodes: tuple[str, ...], desired: Desired) -> tuple[str, Rung]:
    """Return the nearest scope that grants a rung, and the rung.

    Of several nodes (a migration's two ends) the one that grants less speaks for its level.
    """
    best: tuple[int, str, Rung] | None = None
    for name, scope in scopes(target, nodes, desired):
        if scope.autonomy is None:
            continue
        at = LEVELS.get(name.partition("/")[0], 0)
        if (best is None or at < best[0]
                or (at == best[0] and scope.autonomy.height < best[2].height)):
            best = (at, name, scope.autonomy)
    assert best is not None, "the estate always grants a rung"
    return best[1], best[2]


def paused_by(target: str, nodes: tuple[str, ...], survey: Survey) -> Suspension | None:
    """Return the suspension that holds a target back, nearest first; None when none does."""
    by_hand = {one.target: one for one in survey.policy.suspensions
               if one.until_at > survey.now_s}
    if target in by_hand:
        return by_hand[target]
    for name, scope in scopes(target, nodes, survey.desired):
        if name in by_hand:
            return by_hand[name]
        if scope.suspend is not None:
            until_at = parse_instant_at(scope.suspend.until)
            if until_at > survey.now_s:
                return Suspension(name, scope.suspend.by, scope.suspend.why, until_at)
    return by_hand.get(by_name(target))


def every_scope(desired: Desired) -> Iterator[tuple[str, Scope]]:
    """Yield every object that can be paused."""
    yield f"Estate/{desired.estate.name}", desired.estate.spec
    for kind, names in (("Site", desired.sites), ("Host", desired.hosts),
                        ("Switch", desired.switches), ("InterSiteLink", desired.inter_site_links),
                        ("Network", desired.networks)):
        for name in sorted(names):
            scope = scope_of(f"{kind}/{name}", desired)
            if scope is not None:
                yield f"{kind}/{name}", scope
    for name in sorted(desired.virtual_machines):
        yield f"VirtualMachine/{name}", desired.virtual_machines[name].spec
