"""Capability: whether a host could boot a VM's machine type and processor model.

Rule 1: what a host's libvirt does not list is unknown, and counts neither for nor against it.
"""

from collections.abc import Iterable
from functools import lru_cache

from controller.model.facts import Capabilities, DomainFacts
from controller.plan.survey.silence import last_of
from controller.plan.survey.survey import NEVER_ASKED, Survey


def cannot_run(domain: DomainFacts | None, host: str, survey: Survey) -> str | None:
    """Return why a host could not boot a domain; None if it could, or that is unknown."""
    config = None if domain is None else domain.config or domain.live
    node = last_of(survey.observed.nodes.get(host, NEVER_ASKED))
    can = None if node is None else last_of(node.capabilities)
    if config is None or can is None:
        return None
    machines, models = _sets(can)
    if config.machine and machines and config.machine not in machines:
        return f"{host} has no machine type {config.machine}{_newest(config.machine, can.machines)}"
    if config.cpu_model and models and config.cpu_model not in models:
        return f"{host} has no processor model {config.cpu_model}"
    return None


@lru_cache(maxsize=4096)
def _sets(can: Capabilities) -> tuple[frozenset[str], frozenset[str]]:
    return frozenset(can.machines), frozenset(can.models)


def _newest(machine: str, machines: Iterable[str]) -> str:
    """Return the newest machine type of the same kind that a host has, in words."""
    kind = machine.rpartition("-")[0]
    like = [one for one in machines if kind and one.rpartition("-")[0] == kind]
    like.sort(key=lambda one: [int(part) if part.isdigit() else 0
                               for part in one.rpartition("-")[2].split(".")])
    return f" (its newest is {like[-1]})" if like else ""


def versions_at(site: str, program: str, survey: Survey) -> tuple[str, ...]:
    """Return the versions of a program on the hosts of a site, as last seen, sorted."""
    found = set()
    for host in survey.hosts_of_site.get(site, ()):
        node = last_of(survey.observed.nodes.get(host, NEVER_ASKED))
        if node is not None and program in node.versions:
            found.add(".".join(node.versions[program].split(".")[:2]))
    return tuple(sorted(found))
