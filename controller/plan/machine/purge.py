"""Purging: files that were set aside long ago, found by their names, go for good.

Rule 1: a file is ours to delete by its name alone, and only while no domain that is seen has it as
        a disk, or below one, by whatever path; in a pool that hosts share, all must be seen.
"""

from typing import Final, NamedTuple

from controller.model.instants import render_instant
from controller.model.units import render_duration
from controller.plan.actions.action import Cause
from controller.plan.actions.storage import PurgeFiles
from controller.plan.machine.removal import file_keys
from controller.plan.machine.set_aside import MARK, Aside, parse_aside
from controller.plan.network.host import pool_of
from controller.plan.steps.draft import Draft, counted
from controller.plan.survey.identity import keys_of
from controller.plan.survey.survey import Survey

BOTH_CLOCKS: Final = 0.9
"""Of the time that a file stays: so long by the clock of its host, too, should ours have leapt."""


class Found(NamedTuple):
    """A file that was set aside, and where it lies."""

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
    """Note which files that were set aside go now, and return when the next of the others may."""
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
    """Return who may use a file, in words; None where it is seen that nobody does."""
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
