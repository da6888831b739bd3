"""What is said of a copy when it is done: what was sent, how, and why so."""

from dataclasses import dataclass, field

from controller.model.units import render_size
from controller.plan.actions.replica import CopyMode, ReplicateDomain
from controller.replication.copy_plan import DiskPlan, OpenDisk
from controller.replication.source_host import Begun
from controller.replication.transfer import Sent


@dataclass(slots=True)
class DiskAccount:
    """What one disk took."""

    course: DiskPlan
    told_bytes: int | None = None
    """What change tracking had told of, where all was read although it told."""
    read_bytes: int = 0
    data_bytes: int = 0
    wire_bytes: int = 0


@dataclass(slots=True)
class CopyReport:
    """What a point took."""

    disks: dict[str, DiskAccount] = field(default_factory=dict)
    slices: int = 1
    stored_bytes: int = 0
    off: bool = False
    quiesced: bool = False
    unquiesced_because: str = ""
    nvram_missing: str = ""
    relayed: str = ""
    """Why the stream went through the controller; empty when it did not."""
    left_out: tuple[str, ...] = ()
    """Disks that the source would not copy, each with why."""
    incidents: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def hear(self, begun: Begun) -> None:
        """Take over what holds for the copy that is open."""
        self.off, self.quiesced = begun.off, begun.quiesced
        self.unquiesced_because = begun.unquiesced_because
        self.nvram_missing = begun.nvram_missing
        self.left_out = begun.lacking

    def add(self, course: DiskPlan, opened: OpenDisk, sent: Sent) -> None:
        """Count one transfer; the first says how the disk was copied."""
        told = opened.dirty_bytes if course.mode is CopyMode.SCAN and opened.tracked else None
        disk = self.disks.setdefault(opened.target, DiskAccount(course, told))
        disk.read_bytes += sent.read_bytes
        disk.data_bytes += sent.data_bytes
        disk.wire_bytes += sent.wire_bytes


def tell(action: ReplicateDomain, account: CopyReport) -> str:
    """Return the sentence of a point that was made."""
    wire = sum(disk.wire_bytes for disk in account.disks.values())
    parts = [tell_disk(target, disk) for target, disk in sorted(account.disks.items())]
    what = "; ".join(parts) if parts else "nothing had changed"
    how = ", quiesced" if account.quiesced and not account.off else ""
    if account.off:
        how = ", at rest" if account.quiesced else ", crash-consistent"
    slices = f", in {account.slices} slices" if account.slices > 1 else ""
    sentence = (f"made restore point {action.sequence} of {action.machine} on {action.to}{how}:"
                f" {what} ({render_size(wire)} on the wire{slices})")
    if not account.quiesced and (action.quiesce or account.off):
        sentence += f"; its file systems were not quiesced: {account.unquiesced_because}"
    if account.nvram_missing:
        sentence += f"; its NVRAM is not in it ({account.nvram_missing})"
    lacking = dict.fromkeys((*action.without, *account.left_out))
    if lacking:
        sentence += f"; it is without {', '.join(lacking)}"
    if account.relayed:
        sentence += f"; it went through the controller because {account.relayed}"
    return "; ".join([sentence, *account.incidents, *account.remarks])


def tell_disk(target: str, disk: DiskAccount) -> str:
    """Return what was done about one disk."""
    sent = render_size(disk.data_bytes)
    match disk.course.mode:
        case CopyMode.INCREMENT:
            return f"{target}: {sent} changed"
        case CopyMode.SCAN:
            missed = disk.data_bytes - (disk.data_bytes if disk.told_bytes is None
                                        else disk.told_bytes)
            untold = (f", and change tracking had missed at least {render_size(missed)} of it"
                      if missed > 0 else "")
            return (f"{target}: {disk.course.why}: read {render_size(disk.read_bytes)}, sent"
                    f" {sent} that differed{untold}")
        case CopyMode.SEED:
            return f"{target}: {disk.course.why}: sent {sent}"
