"""Removal: domains that carry our mark and are declared no longer. The default is to let them be.
"""

from dataclasses import replace

from controller.model.facts import DomainFacts, Role
from controller.model.replica import our_checkpoints
from controller.model.units import render_duration
from controller.model.virtual_machine import Deletion
from controller.plan.actions.action import Ask, Cause
from controller.plan.actions.machine import RemoveDomain
from controller.plan.machine.set_aside import aside_suffix
from controller.plan.machine.state import way_out
from controller.plan.steps.contained import contained
from controller.plan.steps.draft import Draft
from controller.plan.survey.identity import (
    DeclaredIdentity,
    Key,
    domain_uuids,
    files_of,
    is_for,
    keys_of,
    macs_of,
)
from controller.plan.survey.survey import Survey

SHUTDOWN_LIMIT_S = 120.0


def diff_undeclared(survey: Survey, draft: Draft) -> None:
    """Note every domain of ours that no spec declares any longer."""
    declared = survey.desired.virtual_machines
    estates = survey.specs.names.estates
    for name in sorted(survey.sightings.keys() - declared.keys()):
        for host, domain in survey.sightings[name]:
            if domain.ownership is not None and domain.ownership.estate in estates:
                with contained(f"VirtualMachine/{name}", draft):
                    _remove(name, host, domain, survey, draft)


def to_delete(survey: Survey) -> frozenset[str]:
    """Return every domain that is to be deleted sooner or later, also where it is not seen now.

    Hosts answer one after the other: what each shows by itself may stay below a ceiling that all of
    them together exceed.
    """
    declared = survey.desired.virtual_machines
    return frozenset(
        name for names in (survey.sightings, survey.last_seen)
        for name in names.keys() - declared.keys() for seen in names[name]
        if may_go(name, seen.domain, survey))


def may_go(name: str, domain: DomainFacts, survey: Survey) -> bool:
    """Return whether a mark that was written for this very domain allows it to be deleted.

    A mark of a version that named nothing counts where we gave the domain its uuid.
    """
    mark, names = domain.ownership, survey.specs.names
    if mark is None or mark.deletion != Deletion.DELETE or mark.estate not in names.estates:
        return False
    if is_for(mark, domain, names):
        return mark.role is not Role.DRILL
    return mark.name == "" and domain.uuid in domain_uuids(names, name)


def _remove(name: str, host: str, domain: DomainFacts, survey: Survey, draft: Draft) -> None:
    target = f"VirtualMachine/{name}"
    if domain.ownership is None or domain.ownership.deletion != Deletion.DELETE:
        ours = our_checkpoints(domain.checkpoints)
        more = "" if not ours else (
            f"; checkpoints of ours hold it: `virsh undefine {domain.name} --checkpoints-metadata`"
            " there undefines it all the same")
        draft.remark(target, f"{name} on {host} is no longer declared; it is left alone"
                             f" (its last spec said `deletion: keep`){more}")
        return
    if not may_go(name, domain, survey):
        draft.remark(target, f"{domain.name} on {host} carries a mark of ours that was written for"
                             " another domain, as a clone does: it is left alone; take the mark"
                             " off, or declare it")
        return
    if domain.name not in {name, domain.ownership.domain}:
        draft.remark(target, f"{name} is no longer declared and is to be deleted, but somebody"
                             f" renamed it to {domain.name} on {host}: it is left alone; rename it"
                             f" back, or delete it by hand")
        return
    claimed = _claimed(name, host, domain, survey)
    if claimed is not None:
        draft.stall(target, "Taken", f"{name} on {host} is no longer declared and is to be deleted,"
                                     f" but {claimed}")
        return
    if domain.job is not None or len(survey.sightings[name]) > 1 or name in survey.last_seen:
        draft.remark(target, f"{name} is no longer declared and is to be deleted, but it is on"
                     " several hosts or a job runs on it: nothing is done until that ends")
        return
    riddle = _riddle(host, survey)
    if riddle is not None:
        draft.remark(target, f"{name} is no longer declared and is to be deleted, but {riddle} on"
                     f" {host} could not be read and may use its disks: nothing is done until"
                     " libvirt there shows it", unknown=True)
        return
    paths = own_disks(host, domain, survey)
    days = render_duration(survey.desired.estate.spec.limits.purge_after_s)
    action = RemoveDomain(
        target=target, node=host, domain=domain.name, limit_s=SHUTDOWN_LIMIT_S, disk_paths=paths,
        suffix="", cause=Cause.COMMIT,
        ask=_may_be_renamed(name, host, survey),
        reason=f"{name} is no longer declared, and its last spec said `deletion: delete`",
        consequence=f"{', '.join(paths)}: set aside for {days}, then DELETED" if paths else
                    "its domain is forgotten")
    since_at = survey.context.waiting.get(action.id, survey.now_s)
    draft.do(replace(action, suffix=aside_suffix(since_at)))


def _may_be_renamed(name: str, host: str, survey: Survey) -> Ask | None:
    """Return what a person is asked where a declared VM that was there is seen nowhere now.

    It may be this one: a name of before was left out of `formerly`, or was never seen.
    """
    lost = sorted(vm for vm, stood in survey.context.last_host.items()
                  if stood in {host, ""} and vm in survey.desired.virtual_machines
                  and vm not in survey.sightings and vm not in survey.last_seen)
    if not lost:
        return None
    return Ask("renamed", (
        f"{name} on {host} is no longer declared and is to be deleted, and {' and '.join(lost)},"
        f" which stood there, is seen nowhere now: if it is {name} under a new name, write"
        f" `formerly: {name}` into it; with a yes {name} is removed"))


def _riddle(host: str, survey: Survey) -> str | None:
    """Return a domain of which nobody knows what it uses."""
    return next((other.name for other in survey.domains[host].values()
                 if other.unknown and other.live is None and other.config is None), None)


def _claimed(name: str, host: str, domain: DomainFacts, survey: Survey) -> str | None:
    """Return who else has, or is to get, what makes the VM; files of others stay anyway."""
    rivals = tuple(one for one in survey.identities.rivals.get(name, ()) if one.is_more_than_files)
    if rivals:
        return f"{'; '.join(map(str, rivals))}: it is left alone; {way_out(name, rivals)}"
    for mac in macs_of(host, domain, survey.specs.declared):
        heir = survey.specs.declared.card_owner.get(mac, name)
        if heir != name:
            return (f"{heir} declares its card {mac}: it is left alone; if {heir} is {name} under"
                    f" a new name, write `formerly: {name}` into it, else give {heir} another MAC")
    return None


def own_disks(host: str, domain: DomainFacts, survey: Survey) -> tuple[str, ...]:
    """Return the disks that lie in a declared pool and belong to no other domain.

    A file is the same under any path, and at any depth of another's disk. In a pool that hosts
    share, domains of all hosts count, and all of them must have been seen.
    """
    pools = survey.desired.hosts[host].spec.pools
    folders = {pool.path.rstrip("/") for pool in pools}
    declared, others = survey.specs.declared, set[Key]()
    silent = ((name, unreachable.domains) for name, unreachable in survey.unreachable.items())
    places = [*survey.domains.items(), *silent, *survey.removed_hosts.items()]
    if any(domains is None for _, domains in places):
        folders -= {pool.path.rstrip("/") for pool in pools if pool.shared}
    for name, domains in places:
        if name == host or host in declared.shared:
            for other in (domains or {}).values():
                if (name, other.name) != (host, domain.name):
                    others |= file_keys(name, other, declared)
    identities = {path: identity for path, _, identity in files_of(domain)}
    return tuple(sorted(
        path for path in own_paths(domain) if path.rpartition("/")[0] in folders
        and others.isdisjoint(keys_of(
            host, path, identities.get(path) or survey.file_identity(host, path), declared))))


def file_keys(host: str, domain: DomainFacts, declared: DeclaredIdentity) -> set[Key]:
    """Return what every file that a domain uses is looked up by, however deep it lies."""
    files = {path: identity for path, _, identity in files_of(domain)}
    return {key for path in disk_paths(domain) | files.keys()
            for key in keys_of(host, path, files.get(path, ""), declared)}


def disk_paths(domain: DomainFacts) -> set[str]:
    """Return every file that a domain's XML names as a disk, or has in a drive."""
    return {disk.source for config in (domain.live, domain.config) if config is not None
            for disk in (*config.disks, *config.media)}


def own_paths(domain: DomainFacts) -> set[str]:
    """Return the files that a domain alone writes to; what it only reads is somebody else's."""
    return {disk.source for config in (domain.live, domain.config) if config is not None
            for disk in config.disks if not (disk.readonly or disk.shareable)}
