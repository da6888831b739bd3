"""The laws, held against the steps of a plan, whatever made them.

Rule 1: a law that a step would break strikes every step of that step's target, loudly; all other
        steps go on.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Final

from controller.model.facts import DomainFacts, Known, Observed
from controller.plan.actions import (
    Action,
    CreateDisk,
    DefineDomain,
    ResumeDomain,
    StartDomain,
)
from controller.plan.identity_laws import breaches_of_identity
from controller.plan.plan import Breach, Ruling, Step, Verdict
from controller.plan.replica_laws import breaches_of_points
from controller.plan.standing import runs
from controller.plan.survey import last_of

LAW: Final = "law"
BEGINS: Final = (StartDomain, ResumeDomain, DefineDomain, CreateDisk)


def strike(steps: tuple[Step, ...], observed: Observed) -> tuple[Step, ...]:
    """Return the steps, those of each target for which a law would be broken refused."""
    broken = breaches(steps, observed)
    if not broken:
        return steps
    return tuple(Step(step.action, step.after, Ruling(
        Verdict.REFUSED, LAW, f"a law forbids it: {broken[step.action.target]}",
        "nothing but what is seen; look there, and report this")) if step.action.target in broken
        else step for step in steps)


def breaches(steps: tuple[Step, ...], observed: Observed) -> Mapping[str, str]:
    """Return, by target, the first law that its steps would break, with the VM and the host."""
    found: dict[str, str] = {}
    for breach in chain(_on_silent_nodes(steps, observed), _copies(steps, observed),
                        breaches_of_identity(steps, observed),
                        breaches_of_points(steps, observed)):
        found.setdefault(*breach)
    return found


def _on_silent_nodes(steps: tuple[Step, ...], observed: Observed) -> Iterator[Breach]:
    for step in steps:
        for node in step.action.nodes:
            if not isinstance(observed.nodes.get(node), Known):
                yield Breach(step.action.target, "unknown is never absent:"
                             f" {step.action.id} would act on {node}, which does not answer")


def _copies(steps: tuple[Step, ...], observed: Observed) -> Iterator[Breach]:
    begun: dict[str, Action] = {}
    for step in steps:
        action = step.action
        if not isinstance(action, BEGINS):
            continue
        name = action.target.partition("/")[2]
        other = begun.setdefault(name, action)
        if other.node != action.node:
            yield Breach(action.target, f"never two running copies: {name} would be begun on"
                         f" {other.node} and on {action.node}")
        if not isinstance(action, CreateDisk):
            begun[name] = action
    yield from _second_copies({name: action for name, action in begun.items()
                               if not isinstance(action, CreateDisk)}, observed)
    yield from _made_beside_another(begun, observed)


def _second_copies(begun: dict[str, Action], observed: Observed) -> Iterator[Breach]:
    """Yield what runs elsewhere, or ran there when it was last seen, and would be begun.

    To define what already runs on the same host begins no copy.
    """
    new = {name: action for name, action in begun.items()
           if not (isinstance(action, DefineDomain) and _runs_at(name, action.node, observed))}
    for host in observed.nodes if new else ():
        domains = _last_domains(host, observed)
        for name in sorted(new.keys() & domains.keys()):
            domain, action = domains[name], new[name]
            if host != action.node and runs(domain):
                yield Breach(action.target, f"never two running copies: {action.id}, but {name} is"
                             f" {domain.state} on {host}, as far as {host} could be seen")


def _made_beside_another(begun: dict[str, Action], observed: Observed) -> Iterator[Breach]:
    """Yield what would be defined anew, and a silent or departed host had when last seen."""
    new = {name: action for name, action in begun.items()
           if isinstance(action, DefineDomain) and not _runs_at(name, action.node, observed)}
    for host, fact in observed.nodes.items() if new else ():
        if not isinstance(fact, Known):
            for name in sorted(new.keys() & _last_domains(host, observed).keys()):
                yield Breach(new[name].target, f"never two copies: {new[name].id}, but {host} had"
                             f" {name} when it was last seen")


def _last_domains(host: str, observed: Observed) -> Mapping[str, DomainFacts]:
    fact = observed.nodes.get(host)
    node = None if fact is None else last_of(fact)
    return {} if node is None else last_of(node.domains) or {}


def _runs_at(name: str, host: str, observed: Observed) -> bool:
    domain = _last_domains(host, observed).get(name)
    return domain is not None and runs(domain)
