"""Device support: a table of what can be done with each kind of disk and device, and why not.

Rule 1: what no row forbids is done; the first row that forbids it says why.
Rule 2: whatever is left out of the restore points is named, and counts as on purpose only if the
        spec says so.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Final, NamedTuple

from controller.model.desired import Desired
from controller.model.facts import DeviceFacts, DiskFacts, DomainConfig
from controller.model.virtual_machine import VirtualMachine
from controller.plan.machine.domain import disk_file

COMPARED: Final = frozenset({"raw", "qed", "vmdk", "vdi", "vpc", "vhdx"})
"""Formats that are read and compared as a whole."""
TRACKING: Final = 3
"""The first version of qcow2 that can hold a bitmap of changes."""
CARRIED_BYTES: Final = 64 << 20
"""A CD-ROM or floppy image up to this size moves along with its VM."""
PLAIN: Final = frozenset({"file", "block", "volume"})
ELSEWHERE: Final = frozenset({"network", "nvme", "dir", "vhostuser", "vhostvdpa"})
PROCESSES: Final = frozenset({"vhostuser", "vhostvdpa"})


class Kind(NamedTuple):
    """One row: disks with something in common, and why something is not done with them."""

    is_one: Callable[[DiskFacts], bool]
    resize: str = ""
    """Why its size is left alone."""
    move: str = ""
    """Why it cannot be copied to another host while its VM runs."""
    move_shared: str = ""
    """Why its VM cannot move even if both hosts are declared to share it."""
    copy: str = ""
    """Why it is in no restore point."""


def _never(is_one: Callable[[DiskFacts], bool], why: str) -> Kind:
    return Kind(is_one, why, why, why, why)


KINDS: Final = (
    Kind(lambda disk: disk.encrypted,
         resize="it is encrypted, and only libvirt has its key",
         move="it is encrypted, and it would arrive in the clear",
         copy="it is encrypted, and a copy would lie in the clear"),
    Kind(lambda disk: disk.device == "lun",
         resize="it is a LUN, which its storage sizes",
         move="it is a LUN, which stays where its storage is",
         copy="it is a LUN, to which the guest can write past QEMU"),
    _never(lambda disk: disk.type in PROCESSES, "another process than QEMU has its data"),
    _never(lambda disk: disk.type == "nvme", "the guest has the NVMe drive itself"),
    _never(lambda disk: disk.type == "dir", "QEMU makes it from a folder of its host"),
    Kind(lambda disk: disk.type == "network",
         resize="it lies on storage elsewhere, which sizes it",
         move="it lies on storage elsewhere, and no pool that both hosts share is declared for it",
         copy="it lies on storage elsewhere, which has its own copies or none"),
    _never(lambda disk: disk.type not in PLAIN | ELSEWHERE, "its type is not known here"),
    Kind(lambda disk: disk.transient,
         move="what is written to it is gone when its VM stops, and libvirt moves none such",
         move_shared="what is written to it is gone when its VM stops, and libvirt moves none such",
         copy="what is written to it is gone when its VM stops"),
    Kind(lambda disk: disk.mirrored,
         move="a block job is writing it to another place: let that end",
         move_shared="a block job is writing it to another place: let that end"),
    Kind(lambda disk: disk.readonly,
         resize="it is read-only",
         move="it is read-only, and libvirt would leave it empty on the other host",
         copy="it is read-only, and libvirt copies none that is"),
    Kind(lambda disk: disk.shareable,
         resize="other VMs may use it",
         move="other VMs may use it at the same time",
         copy="other VMs may write to it, and what they change would not be seen"),
    Kind(lambda disk: disk.type == "block",
         resize="it is a block device, which its host sizes",
         move="it is a block device of this host"),
    Kind(lambda disk: disk.type == "volume",
         resize="it is named as a libvirt volume, and not by its file",
         move="it is named as a libvirt volume, and not by its file"),
    Kind(lambda disk: disk.format not in COMPARED | {"qcow2"},
         resize="its format is not known here",
         move="its format is not known here",
         copy="its format is not known here"),
)


class DeviceKind(NamedTuple):
    """One row for devices other than disks, with a word for people."""

    word: str
    move: Callable[[DeviceFacts], str]
    """Why its VM cannot move while it runs."""
    copy: Callable[[DeviceFacts], str]


def _always(why: str) -> Callable[[DeviceFacts], str]:
    return lambda _: why


DEVICES: Final = {
    "tpm": DeviceKind(
        "TPM", lambda tpm: "" if is_emulated_tpm(tpm) else "the TPM is not emulated by its host",
        lambda tpm: "" if is_emulated_tpm(tpm) else "its keys stay on its host"),
    "nvram": DeviceKind(
        "NVRAM", _always(""),
        lambda nvram: "" if nvram.name.startswith("/") or not nvram.name else "it is no file"),
    "hostdev": DeviceKind("host device", _always("only this host has it"),
                          _always("only its host has it")),
    "filesystem": DeviceKind("shared folder", _always("it lies on this host"),
                             _always("it lies on its host")),
    "nvdimm": DeviceKind("NVDIMM", _always("it lies on this host"), _always("it lies on its host")),
    "virtio-pmem": DeviceKind("persistent memory", _always("it lies on this host"),
                              _always("it lies on its host")),
    "pstore": DeviceKind("crash store", _always("it lies on this host"),
                         _always("it lies on its host")),
    "sgx-epc": DeviceKind("enclave memory", _always("only this host's processor can read it"),
                          _always("")),
    "launchSecurity": DeviceKind("memory encryption",
                                 _always("only this host's processor can read its memory"),
                                 _always("")),
    "shmem": DeviceKind("shared memory", _always("others on this host have it, too"), _always("")),
}


def is_emulated_tpm(device: DeviceFacts) -> bool:
    """Return whether a device is a TPM whose state its host keeps in a file."""
    return device.kind == "tpm" and "emulator" in device.name.split()


class LeftOut(NamedTuple):
    """One part of a VM that no restore point has."""

    name: str
    why: str
    disk: str = ""
    """Its target, where it is a disk that the guest may keep data on."""
    declared: bool = False
    """The spec says so: it is left out on purpose."""

    def __str__(self) -> str:
        """Return it as it reads in a sentence."""
        return f"{self.name} ({self.why})"


def resize_blocker(disk: DiskFacts) -> str:
    """Return why a disk's size is left alone; empty if it is managed."""
    return "" if is_plain(disk) else _first(disk, "resize")


def disk_move_blocker(disk: DiskFacts, *, shared: bool) -> str:
    """Return why a VM cannot move with this disk; empty if it can."""
    return "" if is_plain(disk) else _first(disk, "move_shared" if shared else "move")


def copy_blocker(disk: DiskFacts) -> str:
    """Return why a disk is in no restore point; empty if it is copied."""
    return "" if is_plain(disk) else _first(disk, "copy")


def tracking_gap(disk: DiskFacts) -> str:
    """Return why a disk's changes are not tracked; empty if its bitmap has them."""
    if disk.format != "qcow2":
        return f"{disk.format} keeps no track of changes"
    if disk.qcow2_version < TRACKING:
        return ("qcow2 of version 2 keeps no track of changes: while the VM is off,"
                f" `qemu-img amend -f qcow2 -o compat=1.1 {disk.source}`")
    return ""


def is_plain(disk: DiskFacts) -> bool:
    """Return whether no row of the table is about a disk: true of nearly all."""
    return (disk.type == "file" and disk.device == "disk" and disk.format in {"qcow2", "raw"}
            and not (disk.encrypted or disk.readonly or disk.shareable or disk.transient
                     or disk.mirrored or disk.snapshots))


def _first(disk: DiskFacts, column: str) -> str:
    for kind in KINDS:
        why: str = getattr(kind, column)
        if why and kind.is_one(disk):
            return why
    return ""


def name_of(disk: DiskFacts) -> str:
    """Return a disk in words that let a person find it."""
    word = {"cdrom": "CD-ROM", "floppy": "floppy"}.get(disk.device, "disk")
    place = ":".join(part for part in (disk.protocol or disk.pool, disk.source) if part)
    return f"{word} {disk.target} {place}".rstrip()


def device_move_blocker(device: DeviceFacts) -> str:
    """Return why a VM cannot move with a device; empty if it can."""
    kind = DEVICES.get(device.kind)
    return "it is not known here" if kind is None else kind.move(device)


def device_name(device: DeviceFacts) -> str:
    """Return a device in words that let a person find it."""
    kind = DEVICES.get(device.kind)
    return f"{device.kind if kind is None else kind.word} {device.name}".rstrip()


class Coverage(NamedTuple):
    """Which parts of a VM its restore points cover."""

    copied: tuple[DiskFacts, ...]
    left: tuple[LeftOut, ...]


def coverage_of(name: str, config: DomainConfig | None, desired: Desired) -> Coverage:
    """Return which parts of a VM its restore points cover."""
    vm = desired.virtual_machines[name]
    return Coverage(copied_disks(vm, config), left_out(vm, config))


def copied_disks(vm: VirtualMachine, config: DomainConfig | None) -> tuple[DiskFacts, ...]:
    """Return the disks of a VM that are copied."""
    if config is None:
        return ()
    if is_all_copied(vm, config):
        return config.disks
    excluded = _excluded(vm, config)
    return tuple(disk for disk in config.disks
                 if disk.target not in excluded and not copy_blocker(disk))


def left_out(vm: VirtualMachine, config: DomainConfig | None) -> tuple[LeftOut, ...]:
    """Return the parts of a VM that no restore point has: none for nearly all VMs."""
    if config is None:
        return ()
    if not (config.devices or config.media) and is_all_copied(vm, config):
        return ()
    return tuple(_left_out(config, _excluded(vm, config)))


def is_all_copied(vm: VirtualMachine, config: DomainConfig) -> bool:
    """Return whether all disks are copied, as those of nearly all VMs are."""
    return (all(declared.replicate for declared in vm.spec.disks)
            and all(map(is_plain, config.disks)))


def _left_out(config: DomainConfig, excluded: frozenset[str]) -> Iterator[LeftOut]:
    for disk in config.disks:
        declared = disk.target in excluded
        why = "as declared" if declared else copy_blocker(disk)
        if why:
            yield LeftOut(name_of(disk), why, disk.target, declared)
        elif disk.snapshots:
            yield LeftOut(f"the {disk.snapshots} snapshots inside {name_of(disk)}",
                       "only what it is now is copied")
    for medium in config.media:
        if medium.source and medium.type != "network":
            yield LeftOut(name_of(medium), "it lies on its host")
    for device in config.devices:
        kind = DEVICES.get(device.kind)
        why = "it is not known here" if kind is None else kind.copy(device)
        if why:
            yield LeftOut(device_name(device), why)


def missing_from(disks: Collection[str], config: DomainConfig) -> tuple[LeftOut, ...]:
    """Return the parts of a definition that a restore point of these disks lacks."""
    excluded = frozenset(disk.target for disk in config.disks
                       if disk.target not in disks and not copy_blocker(disk))
    return tuple(part._replace(why="it was left out") if part.declared else part
                 for part in _left_out(config, excluded) if part.disk not in disks)


def _excluded(vm: VirtualMachine, config: DomainConfig) -> frozenset[str]:
    """Return the targets of the disks that the spec leaves out, found by file, then by name."""
    if all(disk.replicate for disk in vm.spec.disks):
        return frozenset()
    files = {disk_file(vm.name, disk): disk.replicate for disk in vm.spec.disks if disk.is_pooled}
    paths = {disk.source.path: disk.replicate for disk in vm.spec.disks
             if disk.source is not None and disk.source.path}
    names = {disk.name: disk.replicate for disk in vm.spec.disks}
    return frozenset(disk.target for disk in config.disks if not paths.get(
        disk.source, files.get(disk.source.rpartition("/")[2], names.get(disk.target, True))))


def move_blocker(declared: frozenset[str], config: DomainConfig, shared: frozenset[str]) -> str:
    """Return the first reason why a running VM cannot be moved; empty if it can.

    Shapes: `declared` and `shared` are targets of disks; both hosts are declared to share the
    `shared` ones.
    """
    for disk in config.disks:
        if disk.target not in declared:
            return f"{name_of(disk)} is not declared, so nobody knows whether it may be copied"
        why = disk_move_blocker(disk, shared=disk.target in shared)
        if why:
            return f"{name_of(disk)}: {why}"
    for medium in config.media:
        if medium.source and medium.type not in {"file", "network"}:
            return f"{name_of(medium)}: it is no file that the other host could have: eject it"
    for device in config.devices:
        why = device_move_blocker(device)
        if why:
            return f"{device_name(device)}: {why}"
    return ""
