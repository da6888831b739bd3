"""Creation: disks, a definition and a start for a VM that is declared and exists on no host.

Rule 1: a VM that has restore points existed before. It is never created with empty disks: the next
        copies would replace every good point by the contents of those.
Rule 2: a protected VM gets no empty disk while a host that cannot be seen may hold its replica.
Rule 3: a VM that existed before and lost a disk, replica or not, gets an empty one only with an
        approval: the file may be on a file system that is not mounted just now.
"""

from typing import Final

from controller.model.units import render_instant
from controller.model.virtual_machine import DiskSpec, Power
from controller.plan.actions.action import Ask
from controller.plan.actions.machine import DefineDomain, StartDomain
from controller.plan.actions.storage import CreateDisk, ReturnDisk
from controller.plan.machine.domain import desired_disk, desired_domain, disk_file, disk_files
from controller.plan.machine.removal import Found, asides
from controller.plan.machine.state import Case, bridge_first, pool_first
from controller.plan.network.card import no_new_card
from controller.plan.network.linux_bridge import lacking
from controller.plan.survey.grants import WOULD
from controller.plan.survey.identity import domain_uuids
from controller.plan.survey.replicas import Held

MOVED: Final = ".moved"
"""Suffix of the file that a disk leaves behind when it moves to another host."""
USED_BYTES: Final = 4 << 20
"""More than an empty disk of any format allocates."""


def create(case: Case) -> None:
    """Plan what creates a VM that exists nowhere."""
    vm, survey, draft = case.vm, case.survey, case.draft
    if _says_why_not(case) or case.goal is None:
        return
    host = survey.desired.hosts[case.goal]
    odd = next((f"card {nic.mac}: {words}" for nic in vm.spec.nics
                if (words := no_new_card(nic))), None) or lacking(vm, host, survey)
    if odd is not None:
        draft.stall(case.target, "NoSuchCard", f"{vm.name} is declared and exists nowhere, and"
                    f" cannot be created: {odd}")
        return
    pools = survey.pools(host.name) or {}
    wanted = [disk for disk in vm.spec.disks if disk.pool not in pools
              or pools[disk.pool].volumes.keys().isdisjoint(disk_files(vm, disk))]
    back = _set_aside(case, wanted) if wanted else {}
    wanted = [disk for disk in wanted if disk.name not in back]
    if wanted and _has_replica(case):
        return
    ids = [_give_back(case, disk, back[disk.name]) for disk in vm.spec.disks if disk.name in back]
    if any(one.aside.name != disk_file(vm.name, disk) for disk in vm.spec.disks
           if (one := back.get(disk.name)) is not None):
        return  # back under a former name, with which the next plan defines the VM
    for disk in wanted:
        image = f" from {disk.image}" if disk.image else ""
        ids.append(draft.do(CreateDisk(
            target=case.target, node=host.name, disk=desired_disk(vm, disk, host), cause=case.cause,
            ask=anew(case, disk, host.name),
            reason=f"{vm.name} is declared; its disk {disk.name}{image} does not exist anywhere"),
            (pool_first(host.name, disk.pool),)))
    first = (*ids, bridge_first(host.name))
    desired = desired_domain(vm, host, None, survey)
    define = draft.do(DefineDomain(
        target=case.target, node=host.name, desired=desired,
        reason=f"{vm.name} is declared and defined on no host", cause=case.cause), first)
    if vm.spec.power is Power.ON:
        draft.do(StartDomain(
            target=case.target, node=host.name, domain=desired.name, uuid=desired.uuid,
            cause=case.cause,
            reason=f"{vm.name} is declared on", consequence="it boots"),
            (define,), vm.spec.start_order)


def _not_ours(name: str, own: list[DiskSpec]) -> str:
    """Return why a VM with disks outside pools is not created."""
    places = " and ".join(str(disk.source.path or disk.source.observed) for disk in own
                          if disk.source is not None)
    return (f"{name} is declared and exists nowhere, and its disk {own[0].name} is declared to lie"
            f" on {places}: hotsite makes no such disk. Define {name} by hand on the host that has"
            " it; or, for a new disk, leave `source` out and give it a pool")


def _says_why_not(case: Case) -> bool:
    """Return whether a VM is not created at all, and say why; a replica of it says more."""
    vm, draft = case.vm, case.draft
    watched = case.survey.specs.managing.of_machine(vm, None) is not None
    own = [disk for disk in vm.spec.disks if not disk.is_pooled]
    if not watched and not own and case.goal is not None:
        return False
    if _has_replica(case):
        return True
    words = f"{vm.name} is declared and exists nowhere"
    if watched:
        draft.remark(case.target, f"{WOULD}{words}")
    elif case.goal is None:
        draft.remark(case.target, f"{words}, and cannot be created: {case.why}")
    else:
        draft.stall(case.target, "DiskNotOurs", _not_ours(vm.name, own))
    return True


def _set_aside(case: Case, wanted: list[DiskSpec]) -> dict[str, Found]:
    """Return, by disk, the newest set-aside file of it on the host where the VM is to be."""
    names = {file: disk for disk in wanted for file in disk_files(case.vm, disk)}
    found: dict[str, Found] = {}
    for one in sorted(asides(case.survey), key=lambda one: one.aside.at):
        disk = names.get(one.aside.name)
        if disk is not None and one.pool == disk.pool and one.host == case.goal:
            found[disk.name] = one
    return found


def _give_back(case: Case, disk: DiskSpec, found: Found) -> str:
    folder, _, name = found.path.rpartition("/")
    return case.draft.do(ReturnDisk(
        target=case.target, node=found.host, path=f"{folder}/{found.aside.name}",
        suffix=name.removeprefix(found.aside.name), cause=case.cause,
        reason=f"{case.vm.name} is declared again, and its disk {disk.name} was set aside on"
               f" {found.host} when it was removed",
        consequence=f"{found.path} gets its old name back; to begin with an empty disk instead,"
                    " move it away first"))


def anew(case: Case, disk: DiskSpec, host: str) -> Ask | None:
    """Return what is asked before a disk that existed once is created again; None if it is new."""
    name = case.vm.name
    last = case.survey.context.last_host.get(name)
    trace = _trace(case, host) if not last else ""
    if last is None and not trace:
        return None
    where = f"was last on {last}" if last else trace or "was here before"
    begins = f"from {disk.image} once more" if disk.image else "empty"
    return Ask("anew", (
        f"{name} {where}, and its disk {disk_file(name, disk)} is nowhere to be seen now. A new one"
        f" on {host} begins {begins}: what the disk held is lost. First look whether the file"
        f" system of pool {disk.pool} is mounted on {last or host}, and put the file back if you"
        " can; with a yes a new one is created"))


def _trace(case: Case, host: str) -> str:
    """Return the trace on disk of an earlier life of the VM; empty if there is none."""
    files = {file: disk for disk in case.vm.spec.disks for file in disk_files(case.vm, disk)}
    for name, pool in (case.survey.pools(host) or {}).items():
        for file, disk in files.items():
            seen = pool.volumes.get(file) if disk.pool == name and disk.image is None else None
            if seen is not None and seen.allocated_bytes >= USED_BYTES:
                return f"has written to {file} on {host}"
    for other in case.survey.domains:
        for pool in (case.survey.pools(other) or {}).values():
            for file in files:
                if file + MOVED in pool.volumes:
                    return f"has left {file}{MOVED} on {other} when it moved away from there"
    for one in asides(case.survey):
        if one.aside.name in files:
            return f"has left {one.path} on {one.host} when it was removed"
    return ""


def _has_replica(case: Case) -> bool:
    """Return whether a replica has, or may have, what the VM was; report it if so."""
    name, replicas = case.vm.name, case.replicas
    names = case.survey.specs.names
    kept = replicas.of_machine((name, *names.formers.get(name, ())), domain_uuids(names, name))
    if kept:
        case.draft.stall(case.target, "OnlyReplica", _only_replica(case, kept[-1]))
        return True
    if case.vm.spec.protection is None or not replicas.unlisted:
        return False
    host, why = next(iter(replicas.unlisted.items()))
    case.draft.remark(case.target, f"{name} is on no host and is not created: a replica of it may"
                      f" be on {host}: {why}", unknown=True)
    return True


def _only_replica(case: Case, held: Held) -> str:
    point, replica, name = held.sound, held.replica, case.vm.name
    files = " and ".join(disk_file(name, disk) for disk in case.vm.spec.disks)
    what = f"its replica in {replica.path} there" if point is None else (
        f"restore point {point.sequence} of {render_instant(point.started_at)}")
    if held.host not in case.survey.desired.hosts:
        return (f"{name} is on no host, but {held.host}, which was removed from the specs, had"
                f" {what} when it was last seen: it is not created with empty disks. Declare"
                f" {held.host} again; or, to begin with empty disks, give the VM another name")
    return (f"{name} is on no host, but {held.host} has {what}: it is not created with empty disks."
            f" To restore it, `hotsite replica export {name} FOLDER SPECS` and put the files as"
            f" {files} into their pool on one host: it is defined and started there. To begin with"
            f" empty disks, move {replica.path} on {held.host} away")
