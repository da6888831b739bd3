"""Disks of a domain: which of its disks is which declared one, and what to change.

Rule 1: a disk is its file; the name of its target may change, in the spec or in the domain.
Rule 2: a disk that may only have been renamed is neither created again nor detached.
"""

import re
from collections.abc import Iterator, Mapping

from controller.model.facts import DiskFacts, DomainConfig, PoolFacts
from controller.model.host import Host
from controller.model.units import render_sizes
from controller.model.virtual_machine import DiskSpec, VirtualMachine
from controller.plan.actions.desired import (
    AttachDisk,
    DesiredDisk,
    DetachDisk,
    DomainChange,
    GrowDisk,
)
from controller.plan.machine.device_support import name_of, resize_blocker
from controller.plan.machine.domain import Say, desired_disk, disk_files

_TARGET = re.compile(r"[vsh]d[a-z]{1,2}")
_OF_A_FAILOVER = re.compile(r"\.fo-[0-9]+\.qcow2$")
"""The overlay that a VM writes to since it was promoted."""


def disk_changes(vm: VirtualMachine, seen: DomainConfig, host: Host,
                 pools: Mapping[str, PoolFacts], *, grow: bool, say: Say, take: Say,
                 remark: Say) -> list[DomainChange]:
    """Return the changes of the disks; `grow` if this patch is the one that grows their files.

    A disk that is not declared is detached only if its file has a name that we gave it.
    """
    if "disks" not in vm.spec.model_fields_set:
        return []
    changes: list[DomainChange] = []
    found, extra = matched(vm, seen, host)
    names = (vm.name, *vm.spec.formerly)
    missing = [desired_disk(vm, disk, host, pools) for disk in vm.spec.disks
               if disk.name not in found and disk.is_pooled]
    _report_places(vm, found, remark)
    renamed = [desired for desired in missing if _may_be_renamed(names, desired, extra, pools)]
    for disk in vm.spec.disks:
        if disk.name in found:
            changes += _growth(vm.name, disk, found[disk.name], grow=grow, say=say, remark=remark)
    for desired in _with_a_place(vm.name, missing, seen, remark):
        dim = pools[desired.pool].unknown if desired.pool in pools else ""
        if dim:
            remark(f"{vm.name}'s disk {desired.target} is not plugged in, and pool"
                   f" {desired.pool} of {host.name} could not be seen ({dim}): its file may lie"
                   " there, so nothing is made")
        elif desired not in renamed:
            changes.append(AttachDisk(desired))
            say(f"disk {desired.target} is missing")
    for one in extra:
        if renamed and (_is_ours(names, one) or any(one.size_bytes == desired.size_bytes
                                                      for desired in renamed)):
            target = renamed[0].target
            remark(f"{vm.name}'s disk {target} is declared and has no file, and its disk"
                   f" {one.target} ({one.source}) is not declared: it may only have been renamed,"
                   f" so nothing is made and nothing is pulled out; call it {one.target} again, or"
                   f" take it out in one commit and declare {target} in the next")
        elif _is_ours(names, one):
            changes.append(DetachDisk(one.target, one.source if one.type == "file" else ""))
            take(f"disk {one.target} is not declared (its file {one.source} stays)")
        else:
            remark(f"{vm.name} has a disk {one.target} ({one.source}) that is not declared:"
                   " it is left alone; declare it, or detach it by hand")
    return changes


def _report_places(vm: VirtualMachine, found: Mapping[str, DiskFacts], remark: Say) -> None:
    """Report each disk with a place of its own that is not plugged in, or lies elsewhere."""
    for disk in vm.spec.disks:
        if disk.source is None:
            continue
        path, seen = disk.source.path, found.get(disk.name)
        if seen is None:
            remark(f"{vm.name}'s disk {disk.name} ({path or disk.source.observed}) is declared and"
                   " is not plugged in: hotsite makes and plugs in no disk outside its pools; do it"
                   " by hand, or take it out of the spec")
        elif path not in {"", seen.source}:
            home = (f"it came back from a restore point as a file. To bring it home: shut it down,"
                    f" `qemu-img convert -n -f qcow2 -O {disk.format} {seen.source} {path}`, and"
                    " give the domain that disk by `virsh edit`"
                    if _OF_A_FAILOVER.search(seen.source) else
                    f"it is left there; if both are the same, declare {seen.source}")
            remark(f"{vm.name}'s disk {disk.name} lies on {seen.source or 'nothing'} and {path} is"
                   f" declared: {home}")


def _with_a_place(name: str, missing: list[DesiredDisk], seen: DomainConfig,
                  remark: Say) -> Iterator[DesiredDisk]:
    """Yield the disks whose target is free; report those whose place a drive has."""
    drives = {medium.target: medium for medium in seen.media}
    for desired in missing:
        if desired.target not in drives:
            yield desired
        else:
            remark(f"{name}'s disk {desired.target} is declared, and its"
                   f" {name_of(drives[desired.target])} has that place: nothing is plugged in;"
                   " declare the disk by another name, or take the drive out")


def matched(vm: VirtualMachine, seen: DomainConfig, host: Host) -> tuple[
        dict[str, DiskFacts], list[DiskFacts]]:
    """Return a domain's disks by declared name, matched by file, then by target; and the rest."""
    left = {disk.target: disk for disk in seen.disks}
    by_file = {disk.source: disk for disk in seen.disks if disk.source}
    found: dict[str, DiskFacts] = {}
    for disk in vm.spec.disks:
        path = desired_disk(vm, disk, host).path
        folder = path.rpartition("/")[0]
        own = by_file.get(path) if disk.source is not None else next((
            by_file[path] for file in disk_files(vm, disk)
            if (path := f"{folder}/{file}") in by_file), None)
        if own is not None and left.pop(own.target, None) is not None:
            found[disk.name] = own
    for disk in vm.spec.disks:
        if disk.name not in found and disk.name in left:
            found[disk.name] = left.pop(disk.name)
    return found, [left[target] for target in sorted(left)]


def _growth(name: str, disk: DiskSpec, found: DiskFacts, *, grow: bool, say: Say,
            remark: Say) -> list[DomainChange]:
    if found.target != disk.name:
        remark(f"{name}'s disk {disk.name} ({found.source}) is plugged in as {found.target}: it is"
               f" left there; to have it as {disk.name}, change the domain by hand")
    if found.size_bytes is None or disk.size_bytes in {0, found.size_bytes}:
        return []
    has, wanted = render_sizes(found.size_bytes, disk.size_bytes)
    if found.size_bytes > disk.size_bytes:
        remark(f"{name}'s disk {disk.name} has {has} and {wanted} is declared: disks never shrink;"
               " declare what it has")
        return []
    why = resize_blocker(found)
    if why:
        remark(f"{name}'s disk {disk.name} has {has} and {wanted} is declared, and it does not grow"
               f" by itself: {why}{_way_to_grow(name, found)}")
        return []
    if not grow:
        return []
    say(f"disk {disk.name} has {has} and {wanted} is declared")
    return [GrowDisk(found.target, found.source, disk.size_bytes)]


def _way_to_grow(name: str, found: DiskFacts) -> str:
    """Return how a person grows a block device; empty for any other disk."""
    if found.type != "block" or found.encrypted or not found.source:
        return ""
    return (f"; make {found.source} larger there, as with `lvextend`, and tell a running guest by"
            f" `virsh blockresize {name} {found.target} --capacity`, or before libvirt 10 by its"
            " size")


def _is_ours(names: tuple[str, ...], disk: DiskFacts) -> bool:
    """Return whether a disk's file has a name that we gave it, now or under a former name."""
    stem = disk.source.rpartition("/")[2].rpartition(".")[0]
    return any(stem.startswith(f"{name}-") and _TARGET.fullmatch(stem, len(name) + 1) is not None
               for name in names)


def _may_be_renamed(names: tuple[str, ...], desired: DesiredDisk, extra: list[DiskFacts],
                    pools: Mapping[str, PoolFacts]) -> bool:
    """Return whether a disk without a file may be one that is attached under another name."""
    pool = pools.get(desired.pool)
    if pool is not None and desired.path.rpartition("/")[2] in pool.volumes:
        return False
    return any(_is_ours(names, one) or one.size_bytes == desired.size_bytes for one in extra)
