"""The law of the single copy, held by uuid and card against a finished plan, whatever made it."""

from collections.abc import Iterator

from controller.model.facts import DomainFacts, Observed
from controller.plan.actions import Action, DefineDomain, ResumeDomain, StartDomain
from controller.plan.plan import Breach, Step, Verdict
from controller.plan.standing import runs
from controller.plan.survey import last_of


def breaches_of_identity(steps: tuple[Step, ...], observed: Observed) -> Iterator[Breach]:
    """Yield what may begin and runs already, under any name, as far as it could be seen."""
    begun: dict[str, Action] = {}
    for step in steps:
        if step.ruling.verdict is Verdict.ALLOWED:
            for trait in _traits(step.action, observed):
                begun.setdefault(trait, step.action)
    for host, fact in observed.nodes.items() if begun else ():
        node = last_of(fact)
        for name, domain in ((last_of(node.domains) if node is not None else None) or {}).items():
            for trait in _traits_of(domain) if runs(domain) else ():
                action = begun.get(trait)
                if action is not None and not (host == action.node and _acts_on(action, name)):
                    yield Breach(action.target, f"never two running copies: {action.id}, but {name}"
                                 f" on {host} runs with {trait}, as far as {host} could be seen")


def _acts_on(action: Action, name: str) -> bool:
    if isinstance(action, DefineDomain):
        return action.wish.name == name
    return isinstance(action, StartDomain | ResumeDomain) and action.domain == name


def _traits(action: Action, observed: Observed) -> set[str]:
    """Return what tells the domain of an action that begins one from all others."""
    if not isinstance(action, StartDomain | ResumeDomain | DefineDomain):
        return set()
    fact = observed.nodes.get(action.node)
    node = None if fact is None else last_of(fact)
    domains = (None if node is None else last_of(node.domains)) or {}
    if isinstance(action, DefineDomain):
        wish, here = action.wish, domains.get(action.wish.name)
        if here is not None and here.uuid == wish.uuid and runs(here):
            return set()    # to define what runs here begins no copy
        return {wish.uuid, *(nic.mac for nic in wish.nics)}
    domain = domains.get(action.domain)
    return set() if domain is None else _traits_of(domain)


def _traits_of(domain: DomainFacts) -> set[str]:
    return {domain.uuid, *(nic.mac for config in (domain.live, domain.config)
                           if config is not None for nic in config.nics)}
