"""The progress of long actions is noted at once and logged now and then."""

from controller.reconcile.report.event import Event, EventKind
from controller.reconcile.report.progress import EVENT_EVERY_S, ProgressTracker
from controller.replication.report import Progress, render_progress

GIB = 1 << 30


def progress(done_bytes: int, target: str = "Replica/sql") -> Progress:
    """A copy of 4 GiB at 64 MiB a second."""
    return Progress(target, done_bytes, 4 * GIB, 64 << 20, 30.0)


def test_a_copy_is_told_with_share_rate_and_time_to_go() -> None:
    assert render_progress(progress(GIB)) == (
        "25% of 4GiB looked at, 64MiB/s on the wire, 30s to go")


def test_a_copy_of_nothing_is_done() -> None:
    assert render_progress(Progress("Replica/sql", 0, 0, 0.0, None)).startswith("100% of 0B")


def test_each_target_is_told_at_most_every_few_seconds_and_always_remembered() -> None:
    now, told = [100.0], list[Event]()
    tracker = ProgressTracker(lambda: now[0], told.append)
    for step in range(5):
        tracker.take(progress(step * GIB))
        now[0] += EVENT_EVERY_S / 4
    tracker.take(progress(GIB, "Replica/web"))
    assert [(one.kind, one.target) for one in told] == [
        (EventKind.PROGRESS, "Replica/sql"), (EventKind.PROGRESS, "Replica/sql"),
        (EventKind.PROGRESS, "Replica/web")]
    assert tracker.words["Replica/sql"].startswith("100%")
