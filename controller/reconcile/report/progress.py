"""Progress of long actions: the last report by target for `status`, and an event every 5s."""

from collections.abc import Callable
from typing import Final

from controller.providers.base import Provider
from controller.reconcile.report.event import Event, EventKind
from controller.replication.provider import ReplicatedEstate
from controller.replication.report import Progress, render_progress

EVENT_EVERY_S: Final = 5.0


class ProgressTracker:
    """The last progress report of each target."""

    def __init__(self, clock: Callable[[], float], listen: Callable[[Event], None]) -> None:
        self._clock = clock
        self._listen = listen
        self._event_at: dict[str, float] = {}
        self.words: dict[str, str] = {}

    def follow(self, provider: Provider) -> None:
        """Receive the progress reports of `provider` from now on."""
        if isinstance(provider, ReplicatedEstate):
            provider.report_to(self.take)

    def take(self, progress: Progress) -> None:
        """Keep a report, and pass it on unless one of this target was passed on just before."""
        sentence = render_progress(progress)
        self.words[progress.target] = sentence
        now_s = self._clock()
        if now_s - self._event_at.get(progress.target, -EVENT_EVERY_S) >= EVENT_EVERY_S:
            self._event_at[progress.target] = now_s
            self._listen(Event(EventKind.PROGRESS, progress.target, "", sentence, now_s, "*"))
