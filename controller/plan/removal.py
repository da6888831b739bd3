"""Removal: domains that carry our mark and are declared no longer. The default is to let them be.
"""

from controller.model.facts import DomainFacts
from controller.model.virtual_machine import Deletion
from controller.plan.actions import Cause, RemoveDomain
from controller.plan.contained import contained
from controller.plan.draft import Draft
from controller.plan.survey import Survey

SHUTDOWN_LIMIT_S = 120.0


def diff_undeclared(survey: Survey, draft: Draft) -> None:
    """Note every domain of ours that no spec declares any longer."""
    declared = survey.desired.virtual_machines
    estate = survey.desired.estate.name
    for name in sorted(survey.sightings.keys() - declared.keys()):
        for host, domain in survey.sightings[name]:
            if domain.ownership is not None and domain.ownership.estate == estate:
                with contained(f"VirtualMachine/{name}", draft):
                    _remove(name, host, domain, survey, draft)


def doomed(survey: Survey) -> frozenset[str]:
    """Return every domain that is to be deleted sooner or later, also where it is not seen now.

    Hosts answer one after the other: what each shows by itself may stay below a ceiling that all of
    them together exceed.
    """
    declared = survey.desired.virtual_machines
    return frozenset(
        name for names in (survey.sightings, survey.ghosts)
        for name in names.keys() - declared.keys() for seen in names[name]
        if (mark := seen.domain.ownership) is not None and mark.deletion == Deletion.DELETE
        and mark.estate == survey.desired.estate.name)


def _remove(name: str, host: str, domain: DomainFacts, survey: Survey, draft: Draft) -> None:
    target = f"VirtualMachine/{name}"
    if domain.ownership is None or domain.ownership.deletion != Deletion.DELETE:
        draft.remark(target, f"{name} on {host} is no longer declared; it is left alone"
                             " (its last spec said `deletion: keep`)")
        return
    if domain.job is not None or len(survey.sightings[name]) > 1 or name in survey.ghosts:
        draft.remark(target, f"{name} is no longer declared and is to be deleted, but it is on"
                     " several hosts or a job runs on it: nothing is done until that ends")
        return
    paths = _own_disks(host, domain, survey)
    draft.do(RemoveDomain(
        target=target, node=host, domain=name, limit_s=SHUTDOWN_LIMIT_S, disk_paths=paths,
        cause=Cause.COMMIT,
        reason=f"{name} is no longer declared, and its last spec said `deletion: delete`",
        consequence=f"DELETES {', '.join(paths)}" if paths else "its domain is forgotten"))


def _own_disks(host: str, domain: DomainFacts, survey: Survey) -> tuple[str, ...]:
    """Return the disks that lie in a declared pool and belong to no other domain.

    In a pool that hosts share, domains of all hosts count, and all of them must have been seen.
    """
    pools = survey.desired.hosts[host].spec.pools
    folders = {pool.path.rstrip("/") for pool in pools}
    shared = {pool.path.rstrip("/") for pool in pools if pool.shared}
    others = {path for other in survey.domains[host].values() if other.name != domain.name
              for path in disk_paths(other)}
    if shared:
        places = [*survey.domains.items(), *((name, blind.domains) for name, blind
                                             in survey.blind.items()),
                  *survey.departed.items()]
        if any(domains is None for _, domains in places):
            folders -= shared
        others |= {path for name, domains in places if name != host
                   for other in (domains or {}).values() for path in disk_paths(other)
                   if path.rpartition("/")[0] in shared}
    return tuple(sorted(path for path in disk_paths(domain) - others
                        if path.rpartition("/")[0] in folders))


def disk_paths(domain: DomainFacts) -> set[str]:
    """Return every file that a domain's XML names as a disk."""
    return {disk.source for config in (domain.live, domain.config) if config is not None
            for disk in config.disks}
