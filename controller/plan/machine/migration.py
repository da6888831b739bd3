"""Migrations: a running VM to the host where it belongs, with those disks that are not shared.

Rule 1: a disk is its file: attached under another target than declared, it keeps that target on the
        other host, and the file name that the spec gives it.
"""

from collections.abc import Mapping

from controller.model.facts import DiskFacts, DomainFacts
from controller.model.host import Host
from controller.model.virtual_machine import Autostart, DiskSpec
from controller.plan.actions.desired import DesiredDisk
from controller.plan.actions.machine import MigrateDomain
from controller.plan.machine.device_support import CARRIED_BYTES, move_blocker, name_of
from controller.plan.machine.disks import matched
from controller.plan.machine.domain import desired_disk
from controller.plan.machine.state import Case, bridge_first, pool_first
from controller.plan.network.card import desired_nics, left_alone
from controller.plan.network.host import pool_of
from controller.plan.network.linux_bridge import lacking
from controller.plan.steps.draft import cause_of


def plan_migration(case: Case, source: str, domain: DomainFacts, after: str | None) -> None:
    """Plan the move of a running VM to the host that placement chose for it."""
    vm, survey, draft = case.vm, case.survey, case.draft
    assert case.goal is not None
    there, here = survey.desired.hosts[case.goal], survey.desired.hosts[source]
    attached = _attached(case, domain, here)
    missing = [disk.pool for disk, _ in attached
               if disk.is_pooled and pool_of(there, disk.pool) is None]
    if missing:
        draft.remark(case.target, f"{vm.name} belongs on {case.goal} ({case.why}), but that host"
                     f" declares no pool {missing[0]}: declare it there")
        return
    kept = tuple(found.target for disk, found in attached if disk.is_pooled and all(
        getattr(pool_of(host, disk.pool), "shared", False) for host in (here, there)))
    media = dict(sorted({medium.source: medium.size_bytes for config in (domain.live, domain.config)
                         if config is not None for medium in config.media
                         if medium.type == "file" and medium.source}.items()))
    blocker = (_blocker(case, domain, here, frozenset(kept)) or _medium_missing(case, media)
               or lacking(vm, there, survey))
    if blocker:
        draft.remark(case.target, f"{vm.name} belongs on {case.goal} ({case.why}) and is not moved:"
                     f" {blocker}")
        return
    disks = _disks_there(case, attached, there, kept)
    ssh, own = survey.desired.estate.spec.ssh, there.spec.ssh
    total = sum(disk.size_bytes for disk in disks if disk.target not in kept)
    with_storage = len(disks) > len(kept)
    movable = {nic.mac for config in (domain.live, domain.config) if config is not None
               for nic in config.nics if nic.network or left_alone(nic) is None}
    now = dict.fromkeys(desired_nics(case.vm, here, case.survey))
    draft.do(MigrateDomain(
        target=case.target, node=source, domain=domain.name, uuid=domain.uuid, to=there.name,
        to_address=there.spec.address,
        to_replication_address=there.spec.replication_address or there.spec.address,
        to_user=own.user or ssh.user, to_port=own.port or ssh.port,
        with_storage=with_storage, disks=disks, kept=kept, media=tuple(media),
        autostart=domain.autostart and vm.spec.autostart is Autostart.KEEP,
        nics=tuple(nic for nic in desired_nics(case.vm, there, case.survey)
                   if nic not in now and nic.mac in movable),
        cause=cause_of(survey.context, case.target, f"Host/{source}", f"Host/{there.name}"),
        reason=f"{vm.name} is on {source} and belongs on {there.name}: {case.why}",
        consequence="live" if not with_storage else (
            f"live, {total / (1 << 30):.3g} GiB of disks to copy")),
        (*((after,) if after else ()), bridge_first(there.name),
         *(pool_first(there.name, disk.pool) for disk, _ in attached if disk.is_pooled)))


def _blocker(case: Case, domain: DomainFacts, here: Host, kept: frozenset[str]) -> str:
    """Return why a VM cannot move with its live and its next configuration; empty if it can."""
    for config in (domain.live, domain.config):
        if config is not None:
            declared = matched(case.vm, config, here)[0]
            why = move_blocker(frozenset(disk.target for disk in declared.values()), config, kept)
            if why:
                return why
            own = next((disk for disk in case.vm.spec.disks
                        if disk.name in declared and not disk.is_pooled), None)
            if own is not None:
                return (f"{name_of(declared[own.name])}: it lies in no pool, so nobody knows where"
                        f" it would lie on {case.goal}")
    return ""


def _medium_missing(case: Case, media: Mapping[str, int | None]) -> str:
    """Return which large medium is surely missing on the other host, in words; empty if none."""
    pools = case.survey.pools(case.goal or "") or {}
    for path, size_bytes in media.items():
        if size_bytes is not None and size_bytes <= CARRIED_BYTES:
            continue
        folder, _, name = path.rpartition("/")
        if any(pool.active and pool.path.rstrip("/") == folder and name not in pool.volumes
               for pool in pools.values()):
            return f"{case.goal} has no {path}, which is in its drive: copy it there, or eject it"
    return ""


def _attached(case: Case, domain: DomainFacts,
              here: Host) -> tuple[tuple[DiskSpec, DiskFacts], ...]:
    """Return the declared disks that a domain has, with their facts; no others are moved."""
    config = domain.live or domain.config
    found = matched(case.vm, config, here)[0] if config is not None else {}
    return tuple((disk, found[disk.name]) for disk in case.vm.spec.disks if disk.name in found)


def _disks_there(case: Case, attached: tuple[tuple[DiskSpec, DiskFacts], ...], there: Host,
                 kept: tuple[str, ...]) -> tuple[DesiredDisk, ...]:
    desired: list[DesiredDisk] = []
    for disk, found in attached:
        path = found.source if found.target in kept else desired_disk(case.vm, disk, there).path
        desired.append(DesiredDisk(found.target, disk.pool, path, found.format,
                               max(disk.size_bytes, found.size_bytes or 0)))
    return tuple(desired)
