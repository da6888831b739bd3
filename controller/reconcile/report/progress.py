"""How far long work has come: remembered by target for `status`, told now and then to a person."""

from collections.abc import Callable
from typing import Final

from controller.providers.base import Provider
from controller.reconcile.report.event import Event, EventKind
from controller.replication.provider import ReplicatedEstate
from controller.replication.report import Progress, render_progress

TOLD_EVERY_S: Final = 5.0


class ProgressBoard:
    """The last word about each target at work."""

    def __init__(self, clock: Callable[[], float], listen: Callable[[Event], None]) -> None:
        self._clock = clock
        self._listen = listen
        self._told_at: dict[str, float] = {}
        self.words: dict[str, str] = {}

    def follow(self, provider: Provider) -> None:
        """Hear from now on what `provider` tells of its long work."""
        if isinstance(provider, ReplicatedEstate):
            provider.report_to(self.take)

    def take(self, progress: Progress) -> None:
        """Remember it, and tell it unless this target was told of a moment ago."""
        sentence = render_progress(progress)
        self.words[progress.target] = sentence
        now_s = self._clock()
        if now_s - self._told_at.get(progress.target, -TOLD_EVERY_S) >= TOLD_EVERY_S:
            self._told_at[progress.target] = now_s
            self._listen(Event(EventKind.PROGRESS, progress.target, "", sentence, now_s, "*"))
