"""Scopes: whose word counts for an action, how far it may go, and who paused it.

Rule 1: VM within host within site within estate; the nearest that speaks wins.
Rule 2: of all objects that an action touches, the lowest grant counts: both ends of a move, and the
        networks, the link and the policy that it is about. Those last can only lower.
"""

from collections.abc import Iterable, Iterator

from controller.model.desired import Desired
from controller.model.document import Rung, Scope
from controller.model.host import Host
from controller.model.inter_site_link import InterSiteLink
from controller.model.network import Network
from controller.model.protection_policy import ProtectionPolicy
from controller.model.site import Site
from controller.model.switch import Switch
from controller.model.virtual_machine import VirtualMachine
from controller.plan.actions import Action
from controller.plan.instants import parse_instant_at
from controller.plan.policy import Suspension
from controller.plan.survey import Survey
from controller.plan.touched import touched

Grant = tuple[str, Rung]


def scope_of(target: str, desired: Desired) -> Scope | None:
    """Return what a declared object says about how far healing goes."""
    kind, _, name = target.partition("/")
    found: (VirtualMachine | Host | Switch | Site | Network | InterSiteLink | ProtectionPolicy
            | None) = None
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
    elif kind == "ProtectionPolicy":
        found = desired.protection_policies.get(name)
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


def granted(action: Action, survey: Survey) -> Grant:
    """Return how far an action may go, and whose word that is: the lowest of all that it touches.

    Where the target itself grants, what is around it does not speak; where the action reaches
    beyond the node that it begins on, the host and the site there still do.
    """
    desired, target = survey.desired, by_name(action.target)
    itself = scope_of(target, desired)
    found: list[Grant] = []
    if itself is not None and itself.autonomy is not None:
        found.append((target, itself.autonomy))
        for node in action.nodes[1:] if action.nodes[1:] or target == action.target else (
                action.node,):
            found += _nearest(around(node, desired))
    else:
        for node in action.nodes:
            found += _nearest((*around(node, desired), estate_of(desired)))
    for name in touched(action, survey):
        found += _nearest([(name, scope)] if (scope := scope_of(name, desired)) else [])
    return min(found or _nearest([estate_of(desired)]), key=lambda grant: grant[1].height)


def _nearest(spoken: Iterable[tuple[str, Scope]]) -> list[Grant]:
    """Return the first grant, if anybody grants anything."""
    return [(name, scope.autonomy) for name, scope in spoken if scope.autonomy is not None][:1]


def around(node: str, desired: Desired) -> tuple[tuple[str, Scope], ...]:
    """Return a node and its site."""
    kind, found = ("Host", desired.hosts.get(node)) if node in desired.hosts else (
        "Switch", desired.switches.get(node))
    if found is None:
        return ()
    site = desired.sites.get(found.spec.site)
    itself = (f"{kind}/{node}", found.spec)
    return (itself,) if site is None else (itself, (f"Site/{found.spec.site}", site.spec))


def estate_of(desired: Desired) -> tuple[str, Scope]:
    """Return the scope around everything."""
    return f"Estate/{desired.estate.name}", desired.estate.spec


def pause_of(action: Action, survey: Survey) -> Suspension | None:
    """Return the suspension that holds an action back; None when none does."""
    pause = paused_by(action.target, action.nodes, survey)
    for name in touched(action, survey) if pause is None else ():
        if (pause := paused_at(name, survey)) is not None:
            break
    return pause


def paused_at(name: str, survey: Survey) -> Suspension | None:
    """Return the suspension of one object itself."""
    for one in survey.policy.suspensions:
        if one.target == name and one.until_at > survey.now_s:
            return one
    scope = scope_of(name, survey.desired)
    if scope is None or scope.suspend is None:
        return None
    until_at = parse_instant_at(scope.suspend.until)
    return Suspension(name, scope.suspend.by, scope.suspend.why, until_at) \
        if until_at > survey.now_s else None


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
                        ("Network", desired.networks),
                        ("ProtectionPolicy", desired.protection_policies)):
        for name in sorted(names):
            scope = scope_of(f"{kind}/{name}", desired)
            if scope is not None:
                yield f"{kind}/{name}", scope
    for name in sorted(desired.virtual_machines):
        yield f"VirtualMachine/{name}", desired.virtual_machines[name].spec
