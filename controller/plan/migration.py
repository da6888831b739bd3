"""Migrations: a running VM to the host where it belongs, with its disks where none are shared."""

from controller.model.facts import DomainFacts
from controller.model.host import Host
from controller.model.virtual_machine import DiskSpec
from controller.plan.actions import MigrateDomain
from controller.plan.case import Case, bridge_first, pool_first
from controller.plan.domain import disk_wish
from controller.plan.draft import cause_of
from controller.plan.host import pool_of
from controller.plan.wishes import DiskWish


def plan_migration(case: Case, source: str, domain: DomainFacts, after: str | None) -> None:
    """Note the move of a running VM to the host that placement chose for it."""
    vm, survey, draft = case.vm, case.survey, case.draft
    assert case.goal is not None
    there, here = survey.desired.hosts[case.goal], survey.desired.hosts[source]
    attached = _attached(case, domain)
    missing = [disk.pool for disk in attached if pool_of(there, disk.pool) is None]
    if missing:
        draft.remark(case.target, f"{vm.name} belongs on {case.goal} ({case.why}), but that host"
                     f" declares no pool {missing[0]}: declare it there")
        return
    shared = bool(attached) and all(
        getattr(pool_of(host, disk.pool), "shared", False)
        for disk in attached for host in (here, there))
    disks = _disks_there(case, domain, there, shared=shared)
    total = sum(disk.size_bytes for disk in disks)
    with_storage = bool(disks) and not shared
    draft.do(MigrateDomain(
        target=case.target, node=source, domain=domain.name, to=there.name,
        to_address=there.spec.address,
        to_replication_address=there.spec.replication_address or there.spec.address,
        with_storage=with_storage, disks=disks,
        cause=cause_of(survey.policy, case.target, f"Host/{source}", f"Host/{there.name}"),
        reason=f"{vm.name} is on {source} and belongs on {there.name}: {case.why}",
        consequence=f"live, {_gib(total)} of disks to copy" if with_storage else "live"),
        (*((after,) if after else ()), bridge_first(there.name),
         *(pool_first(there.name, disk.pool) for disk in attached)))


def _attached(case: Case, domain: DomainFacts) -> tuple[DiskSpec, ...]:
    """Return the declared disks that a domain has; one that it has not got yet moves nowhere."""
    config = domain.live or domain.config
    seen = {disk.target for disk in config.disks} if config is not None else set()
    return tuple(disk for disk in case.vm.spec.disks if disk.name in seen)


def _disks_there(case: Case, domain: DomainFacts, there: Host, *,
                 shared: bool) -> tuple[DiskWish, ...]:
    config = domain.live or domain.config
    seen = {disk.target: disk for disk in config.disks} if config is not None else {}
    wishes: list[DiskWish] = []
    for disk in _attached(case, domain):
        wish = disk_wish(case.vm, disk, there)
        found = seen[disk.name]
        wishes.append(DiskWish(disk.name, disk.pool, found.source if shared else wish.path,
                               found.format, max(disk.size_bytes, found.size_bytes or 0)))
    return tuple(wishes)


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 30):.3g} GiB"
