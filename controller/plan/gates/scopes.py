"""Scopes: whose word counts for an action, how far it may go, and who paused it.

Rule 1: VM within host within site within estate; the nearest that speaks wins.
Rule 2: of all objects that an action touches, the lowest grant counts: both ends of a move, and the
        networks, the link and the policy that it is about. Those last can only lower.
"""

from collections.abc import Iterator

from controller.model.desired import Desired
from controller.plan.actions.action import Action
from controller.plan.gates.touched import touched
from controller.plan.survey.context import Suspension
from controller.plan.survey.grants import Grant
from controller.plan.survey.survey import Survey


def scopes(nodes: tuple[str, ...], desired: Desired) -> Iterator[str]:
    """Yield the scopes around a target, nearest first: its nodes, their sites, the estate."""
    sites: dict[str, None] = {}
    for node in nodes:
        for kind, found in (("Host", desired.hosts.get(node)),
                            ("Switch", desired.switches.get(node))):
            if found is not None:
                sites[found.spec.site] = None
                yield f"{kind}/{node}"
    for site in sites:
        if site in desired.sites:
            yield f"Site/{site}"
    yield f"Estate/{desired.estate.name}"


def by_name(target: str) -> str:
    """Return the declared object that a target stands for: a replica stands for its VM."""
    kind, _, name = target.partition("/")
    return f"VirtualMachine/{name}" if kind == "Replica" else target


def granted(action: Action, survey: Survey) -> Grant:
    """Return how far an action may go, and whose word that is: the lowest of all that it touches.

    Where the target itself grants, what is around it does not speak; where the action reaches
    beyond the node that it begins on, the host and the site there still do.
    """
    grants, target, nodes = survey.specs.grants, by_name(action.target), action.nodes
    if len(grants.own) == 1:   # nobody but the estate says anything
        return grants.estate
    own = grants.own.get(target)
    if own is None:
        found = [grants.around.get(node, grants.estate) for node in nodes]
    else:
        beyond = nodes[1:] if len(nodes) > 1 or target == action.target else nodes
        found = [(target, own), *(grants.around[node] for node in beyond if node in grants.around)]
    found += [(name, grants.own[name]) for name in touched(action, survey) if name in grants.own]
    return min(found, key=lambda grant: grant[1].height, default=grants.estate)


def pause_of(action: Action, survey: Survey) -> Suspension | None:
    """Return the suspension that holds an action back; None when none does."""
    if not survey.paused:
        return None
    pause = paused_by(action.target, action.nodes, survey)
    for name in touched(action, survey) if pause is None else ():
        if name in survey.paused:
            return survey.paused[name]
    return pause


def paused_by(target: str, nodes: tuple[str, ...], survey: Survey) -> Suspension | None:
    """Return the suspension that holds a target back, nearest first; None when none does."""
    for name in (target, by_name(target), *scopes(nodes, survey.desired)):
        if name in survey.paused:
            return survey.paused[name]
    return None
