"""Removal: what becomes of a VM that no spec declares any longer, and of its disks.

    declared ──► left alone                         the last spec said `deletion: keep` (default)
             └─► domain removed, disks set aside    it said `deletion: delete`
                       └─► purged                   `purgeAfter` later

A disk that is set aside gets a dated name beside its old one. The name alone says what the file was
and when it may go: no state of the controller is needed to give it back (creation.py) or purge it.

Rule 1: a domain is removed only if our mark on it was written for this very domain and allows it,
        and no other VM has, or is to get, what makes it that VM.
Rule 2: a file is ours to purge by its name alone, and only while no domain that is seen has it as a
        disk, or below one, under any path; in a pool that hosts share, all hosts must be seen.
"""

import re
from dataclasses import replace
from typing import Final, NamedTuple

from controller.model.facts import DomainFacts, Role
from controller.model.replica import our_checkpoints
from controller.model.units import parse_instant_at, render_duration, render_instant
from controller.model.virtual_machine import Deletion
from controller.plan.actions.action import Ask, Cause
from controller.plan.actions.machine import RemoveDomain
from controller.plan.actions.storage import PurgeFiles
from controller.plan.network.host import pool_of
from controller.plan.steps.contained import contained
from controller.plan.steps.draft import Draft, counted
from controller.plan.survey.identity import (
    DeclaredIdentity,
    Key,
    domain_uuids,
    files_of,
    is_for,
    keys_of,
    macs_of,
)
from controller.plan.survey.namesakes import way_out
from controller.plan.survey.survey import Survey

MARK: Final = ".hotsite-removed-"
_ASIDE = re.compile(rf"(.+){re.escape(MARK)}(\d{{4}})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z")
BOTH_CLOCKS: Final = 0.9
"""Share of that time that must have passed by the host's clock, too, in case ours has leapt."""
SHUTDOWN_LIMIT_S: Final = 120.0


def diff_undeclared(survey: Survey, draft: Draft) -> None:
    """Plan the removal of every domain of ours that no spec declares any longer."""
    declared = survey.desired.virtual_machines
    estates = survey.specs.names.estates
    for name in sorted(survey.sightings.keys() - declared.keys()):
        for host, domain in survey.sightings[name]:
            mark = domain.ownership
            if mark is not None and mark.estate in estates and mark.role is not Role.DRILL:
                with contained(f"VirtualMachine/{name}", draft):
                    _remove(name, host, domain, survey, draft)


def to_delete(survey: Survey) -> frozenset[str]:
    """Return every domain that is to be deleted sooner or later, also those not seen now.

    Hosts answer one after the other: each one's domains alone may stay below a ceiling that those
    of all hosts together exceed.
    """
    declared = survey.desired.virtual_machines
    return frozenset(
        name for names in (survey.sightings, survey.last_seen)
        for name in names.keys() - declared.keys() for seen in names[name]
        if may_go(name, seen.domain, survey))


def may_go(name: str, domain: DomainFacts, survey: Survey) -> bool:
    """Return whether the mark was written for this very domain and allows deleting it.

    A mark without a name, of an early version, counts if we gave the domain its UUID.
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
    other_owner = _other_owner(name, host, domain, survey)
    if other_owner is not None:
        draft.stall(target, "Taken", f"{name} on {host} is no longer declared and is to be deleted,"
                                     f" but {other_owner}")
        return
    if domain.job is not None or len(survey.sightings[name]) > 1 or name in survey.last_seen:
        draft.remark(target, f"{name} is no longer declared and is to be deleted, but it is on"
                     " several hosts or a job runs on it: nothing is done until that ends")
        return
    unread = next((other.name for other in survey.domains[host].values()
                   if other.unknown and other.live is None and other.config is None), None)
    if unread is not None:
        draft.remark(target, f"{name} is no longer declared and is to be deleted, but {unread} on"
                     f" {host} could not be read and may use its disks: nothing is done until"
                     " libvirt there shows it", unknown=True)
        return
    paths = own_disks(host, domain, survey)
    days = render_duration(survey.desired.estate.spec.limits.purge_after_s)
    action = RemoveDomain(
        target=target, node=host, domain=domain.name, uuid=domain.uuid,
        limit_s=SHUTDOWN_LIMIT_S, disk_paths=paths,
        suffix="", cause=Cause.COMMIT,
        ask=_may_be_renamed(name, host, survey),
        reason=f"{name} is no longer declared, and its last spec said `deletion: delete`",
        consequence=f"{', '.join(paths)}: set aside for {days}, then DELETED" if paths else
                    "its domain is forgotten")
    since_at = survey.context.waiting.get(action.id, survey.now_s)
    draft.do(replace(action, suffix=aside_suffix(since_at)))


def _may_be_renamed(name: str, host: str, survey: Survey) -> Ask | None:
    """Return what is asked if a declared VM that was on this host is seen nowhere now.

    It may be this very VM, renamed without its old name in `formerly`.
    """
    lost = sorted(vm for vm, stood in survey.context.last_host.items()
                  if stood in {host, ""} and vm in survey.desired.virtual_machines
                  and vm not in survey.sightings and vm not in survey.last_seen)
    if not lost:
        return None
    return Ask("renamed", (
        f"{name} on {host} is no longer declared and is to be deleted, and {' and '.join(lost)},"
        f" which was there, is seen nowhere now: if it is {name} under a new name, write"
        f" `formerly: {name}` into it; with a yes {name} is removed"))


def _other_owner(name: str, host: str, domain: DomainFacts, survey: Survey) -> str | None:
    """Return which other VM has, or declares, its UUID or a MAC. Files of others stay anyway."""
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
    """Return the disks that are in a declared pool and belong to no other domain.

    A file is the same under any path, and as a layer below another disk. In a pool that hosts
    share, domains of all hosts count, and all hosts must have been seen.
    """
    pools = survey.desired.hosts[host].spec.folders
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
    """Return the keys of every file that a domain uses, at any depth of its backing chains."""
    files = {path: identity for path, _, identity in files_of(domain)}
    return {key for path in disk_paths(domain) | files.keys()
            for key in keys_of(host, path, files.get(path, ""), declared)}


def disk_paths(domain: DomainFacts) -> set[str]:
    """Return every file that a domain's XML names as a disk, or has in a drive."""
    return {disk.source for config in (domain.live, domain.config) if config is not None
            for disk in (*config.disks, *config.media)}


def own_paths(domain: DomainFacts) -> set[str]:
    """Return the files that a domain alone writes to; those that it only reads are not its own."""
    return {disk.source for config in (domain.live, domain.config) if config is not None
            for disk in config.disks if not (disk.readonly or disk.shareable)}


class Aside(NamedTuple):
    """A file that was set aside."""

    name: str
    """Its name before."""
    at: float


def aside_suffix(at: float) -> str:
    """Return the suffix of a file that is set aside at an instant."""
    date, time, _ = render_instant(at).split()
    return f"{MARK}{date.replace('-', '')}T{time.replace(':', '')}Z"


def parse_aside(name: str) -> Aside | None:
    """Return what a file was before it was set aside; None for any other file."""
    match = _ASIDE.fullmatch(name)
    if match is None:
        return None
    old, year, month, day, hour, minute, second = match.groups()
    try:
        return Aside(old, parse_instant_at(f"{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
    except ValueError:
        return None


class Found(NamedTuple):
    """A file that was set aside, and where it is."""

    host: str
    pool: str
    path: str
    aside: Aside


def asides(survey: Survey) -> tuple[Found, ...]:
    """Return every file that was set aside in a declared pool, once where hosts share it."""
    found: dict[tuple[str, str], Found] = {}
    for host in sorted(survey.domains):
        for name, facts in (survey.pools(host) or {}).items():
            here = [volume for volume in facts.volumes if MARK in volume]
            pool = pool_of(survey.desired.hosts[host], name) if here else None
            if pool is None or facts.unknown or pool.path.rstrip("/") != facts.path.rstrip("/"):
                continue
            for volume in sorted(here):
                aside, path = parse_aside(volume), f"{pool.path.rstrip('/')}/{volume}"
                if aside is not None:
                    found.setdefault(("" if pool.shared else host, path),
                                     Found(host, name, path, aside))
    return tuple(found.values())


def diff_asides(survey: Survey, draft: Draft) -> float | None:
    """Plan the purge of files set aside long ago; return when the next one is due."""
    limit_s = survey.desired.estate.spec.limits.purge_after_s
    going: dict[str, list[str]] = {}
    later: list[float] = []
    for one in asides(survey):
        due_at = one.aside.at + limit_s
        user = _user_of(one, survey)
        if user is not None:
            draft.remark(f"Host/{one.host}", f"{one.path} on {one.host} was set aside and {user}:"
                         " it is left alone")
        elif due_at > survey.now_s:
            later.append(due_at)
            draft.remark(f"Host/{one.host}", f"{one.path} on {one.host} was set aside when its VM"
                         f" was removed, and is deleted at {render_instant(due_at)}; to keep it,"
                         " give it another name")
        else:
            going.setdefault(one.host, []).append(one.path)
    for host, paths in sorted(going.items()):
        draft.do(PurgeFiles(
            target=f"Host/{host}", node=host, paths=tuple(sorted(paths)), cause=Cause.ROUTINE,
            least_age_s=BOTH_CLOCKS * limit_s,
            reason=f"{counted(len(paths), 'file')} of removed VMs on {host} were set aside more"
                   f" than {render_duration(limit_s)} ago",
            consequence=f"DELETES {', '.join(sorted(paths))}"))
    return min(later, default=None)


def _user_of(one: Found, survey: Survey) -> str | None:
    """Return who may use a set-aside file, in words; None if it is seen that nobody does."""
    pool = pool_of(survey.desired.hosts[one.host], one.pool)
    shared = pool is not None and pool.shared
    if shared and (survey.unreachable or survey.removed_hosts):
        return "not every host that may use it can be seen"
    declared = survey.specs.declared
    keys = set(keys_of(one.host, one.path, survey.file_identity(one.host, one.path), declared))
    for host, domains in survey.domains.items():
        if host != one.host and not shared:
            continue
        for name, domain in domains.items():
            if not keys.isdisjoint(file_keys(host, domain, declared)):
                return f"{name} on {host} has it as a disk, or below one"
    return None
