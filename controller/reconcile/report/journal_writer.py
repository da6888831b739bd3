"""The journal writer: whether the journal can be written, and what is done while it cannot.

Rule 1: while the journal cannot be written, nothing is begun; looking goes on.
"""

from collections.abc import Callable

from controller.errors import JournalUnavailable
from controller.reconcile.report.event import Event, EventKind
from controller.store.store import Store

BACK = "the journal can be written again; work goes on"


class JournalWriter:
    """Writes for the loop, and remembers the error when that failed."""

    def __init__(self, store: Store, clock: Callable[[], float],
                 tell: Callable[[Event], None]) -> None:
        self._store = store
        self._clock = clock
        self._tell = tell
        self.fault: str | None = None

    def attempt(self, write: Callable[[], object]) -> None:
        """Call `write`; when it fails, nothing is begun until `try_again` succeeds."""
        try:
            write()
        except JournalUnavailable as error:
            self.failed(error)

    def failed(self, error: JournalUnavailable) -> None:
        """Note that the journal cannot be written."""
        if self.fault is None:
            self.fault = str(error)
            self._say(self.fault, "!")

    def try_again(self, catch_up: Callable[[], None]) -> bool:
        """Write once more, and then what was missed; return whether that succeeded."""
        try:
            self._store.note(EventKind.JOURNAL, "Store/journal", BACK, self._clock())
            catch_up()
        except JournalUnavailable as error:
            self.fault = str(error)
            return False
        self.fault = None
        self._say(BACK, "")
        return True

    def changed(self) -> bool:
        """Return whether another process wrote; False while that cannot be read."""
        try:
            return self._store.changed()
        except JournalUnavailable as error:
            self.failed(error)
            return False

    def _say(self, sentence: str, symbol: str) -> None:
        self._tell(Event(EventKind.JOURNAL, "Store/journal", "", sentence, self._clock(), symbol))
