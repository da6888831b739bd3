"""What a copy reports: its progress while it runs, and one sentence when it is done."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from controller.model.replica import PARTS
from controller.model.units import render_duration, render_size
from controller.plan.actions.replica import CopyMode, ReplicateDomain
from controller.replication.copy_plan import DiskPlan, OpenDisk, Ranges
from controller.replication.source_host import OpenCopy


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a running copy; `rate_bps` is bytes a second on the wire."""

    target: str
    """The action's target: `Replica/NAME`."""
    done_bytes: int
    total_bytes: int
    rate_bps: float
    eta_s: float | None
    """None while it cannot be estimated."""


OnProgress = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Do nothing."""


def render_progress(progress: Progress) -> str:
    """Return progress for people: `12% of 3GiB looked at, 40MiB/s on the wire, 1m05s to go`."""
    share = progress.done_bytes / progress.total_bytes if progress.total_bytes else 1.0
    to_go = "" if progress.eta_s is None else f", {render_duration(progress.eta_s)} to go"
    return (f"{share:.0%} of {render_size(progress.total_bytes)} looked at,"
            f" {render_size(round(progress.rate_bps))}/s on the wire{to_go}")


def progress_of(target: str, done_bytes: int, total_bytes: int, wire_bytes: int,
                since_s: float) -> Progress:
    """Return the progress after `since_s` seconds; the rest is expected at the rate so far."""
    if since_s <= 0:
        return Progress(target, done_bytes, total_bytes, 0.0, None)
    eta_s = (max(0.0, (total_bytes - done_bytes) * since_s / done_bytes) if done_bytes > 0
             else None)
    return Progress(target, done_bytes, total_bytes, wire_bytes / since_s, eta_s)


@dataclass(frozen=True, slots=True)
class Sent:
    """The result of sending one disk once."""

    left: Ranges
    """Ranges that the time did not suffice for."""
    wire_bytes: int
    data_bytes: int
    read_bytes: int
    beyond: bool = False
    """Whether something was sent that the source's bitmap did not show as changed."""
    asked_bytes: int = 0
    """Clusters of which the target was asked what it has, block by block."""
    block_bytes: int = 0
    """What of them was sent."""
    whole_because: str = ""
    """Why clusters were sent whole from some time on; empty: they were not."""


def parse_sent(result: dict[str, Any]) -> Sent:
    """Return the mover's result.

    Errors: KeyError, TypeError or ValueError for a result of another shape.
    """
    return Sent(tuple((int(first), int(length)) for first, length in result["left"]),
                int(result["wire_bytes"]), int(result["data_bytes"]), int(result["read_bytes"]),
                bool(result.get("beyond")), int(result.get("asked_bytes", 0)),
                int(result.get("block_bytes", 0)), str(result.get("whole_because", "")))


@dataclass(slots=True)
class DiskReport:
    """What copying one disk took."""

    plan: DiskPlan
    tracked_bytes: int | None = None
    """What change tracking had recorded, if all was read although changes were tracked."""
    read_bytes: int = 0
    data_bytes: int = 0
    wire_bytes: int = 0
    asked_bytes: int = 0
    block_bytes: int = 0
    whole_because: str = ""


@dataclass(slots=True)
class CopyReport:
    """What making a point took."""

    disks: dict[str, DiskReport] = field(default_factory=dict)
    slices: int = 1
    stored_bytes: int = 0
    off: bool = False
    quiesced: bool = False
    unquiesced_because: str = ""
    parts_missing: dict[str, str] = field(default_factory=dict)
    """Of what the VM has besides its disks: why it is not in the point."""
    relayed: str = ""
    """Why the stream went through the controller; empty if it did not."""
    left_out: tuple[str, ...] = ()
    """Disks that the source could not copy, each with why."""
    incidents: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add_copy(self, copy: OpenCopy) -> None:
        """Take over what holds for the newest slice."""
        self.off, self.quiesced = copy.off, copy.quiesced
        self.unquiesced_because = copy.unquiesced_because
        self.parts_missing = copy.parts_missing
        self.left_out = copy.lacking

    def add_sent(self, plan: DiskPlan, opened: OpenDisk, sent: Sent) -> None:
        """Count one disk of one slice; the first slice says how the disk was copied."""
        tracked = opened.dirty_bytes if plan.mode is CopyMode.SCAN and opened.tracked else None
        disk = self.disks.setdefault(opened.target, DiskReport(plan, tracked))
        disk.read_bytes += sent.read_bytes
        disk.data_bytes += sent.data_bytes
        disk.wire_bytes += sent.wire_bytes
        disk.asked_bytes += sent.asked_bytes
        disk.block_bytes += sent.block_bytes
        disk.whole_because = disk.whole_because or sent.whole_because


def describe_copy(action: ReplicateDomain, report: CopyReport) -> str:
    """Return the sentence of a point that was made."""
    wire = sum(disk.wire_bytes for disk in report.disks.values())
    parts = [describe_disk(target, disk) for target, disk in sorted(report.disks.items())]
    what = "; ".join(parts) if parts else "nothing had changed"
    how = ", quiesced" if report.quiesced and not report.off else ""
    if report.off:
        how = ", at rest" if report.quiesced else ", crash-consistent"
    slices = f", in {report.slices} slices" if report.slices > 1 else ""
    sentence = (f"made restore point {action.sequence} of {action.machine} on {action.to}{how}:"
                f" {what} ({render_size(wire)} on the wire{slices})")
    if not report.quiesced and (action.quiesce or report.off):
        sentence += f"; its file systems were not quiesced: {report.unquiesced_because}"
    sentence += "".join(f"; its {PARTS[name]} is not in it ({why})"
                        for name, why in report.parts_missing.items())
    lacking = dict.fromkeys((*action.without, *report.left_out))
    if lacking:
        sentence += f"; it is without {', '.join(lacking)}"
    if report.relayed:
        sentence += f"; it went through the controller because {report.relayed}"
    return "; ".join([sentence, *report.incidents, *report.remarks])


def describe_blocks(disk: DiskReport) -> str:
    """Return how much of the changed clusters was sent, and why not less."""
    saved_bytes = disk.asked_bytes - disk.block_bytes
    less = (f", {render_size(disk.data_bytes - saved_bytes)} of it sent, by blocks"
            if saved_bytes > 0 else "")
    return less + (f", clusters whole because {disk.whole_because}"
                   if disk.whole_because and disk.data_bytes else "")


def describe_disk(target: str, disk: DiskReport) -> str:
    """Return what was done about one disk."""
    sent = render_size(disk.data_bytes)
    match disk.plan.mode:
        case CopyMode.INCREMENT:
            return f"{target}: {sent} changed{describe_blocks(disk)}"
        case CopyMode.SCAN:
            missed = 0 if disk.tracked_bytes is None else disk.data_bytes - disk.tracked_bytes
            untracked = (f", and change tracking had missed at least {render_size(missed)} of it"
                         if missed > 0 else "")
            return (f"{target}: {disk.plan.why}: read {render_size(disk.read_bytes)}, sent"
                    f" {sent} that differed{untracked}")
        case CopyMode.SEED:
            return f"{target}: {disk.plan.why}: sent {sent}"
