"""Progress of long actions: the last report by target for `status`, and an event every 5s.

A report is saved at once for readers in other processes, at most four times a second for a target.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from controller.errors import JournalUnavailable
from controller.providers.base import Provider
from controller.reconcile.report.event import Event, EventKind
from controller.replication.provider import ReplicatedEstate
from controller.replication.report import Progress, render_progress

EVENT_EVERY_S: Final = 5.0
SAVE_EVERY_S: Final = 0.25
Save = Callable[[str, str, float], None]


def save_nothing(target: str, sentence: str, at: float) -> None:
    """Do nothing: nobody reads it."""


class ProgressTracker:
    """The last progress report of each target."""

    def __init__(self, clock: Callable[[], float], listen: Callable[[Event], None],
                 save: Save = save_nothing) -> None:
        self._clock = clock
        self._listen = listen
        self._save = save
        self._event_at: dict[str, float] = {}
        self._saved_at: dict[str, float] = {}
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
        if abs(now_s - self._saved_at.get(progress.target, -SAVE_EVERY_S)) >= SAVE_EVERY_S:
            self._saved_at[progress.target] = now_s
            with suppress(JournalUnavailable):      # a journal that fails is told by the loop
                self._save(progress.target, sentence, now_s)
        if now_s - self._event_at.get(progress.target, -EVENT_EVERY_S) >= EVENT_EVERY_S:
            self._event_at[progress.target] = now_s
            self._listen(Event(EventKind.PROGRESS, progress.target, "", sentence, now_s, "*"))
