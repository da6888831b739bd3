"""The keeper of the journal: whether it can be written, and what is done while it cannot.

Rule 1: while the journal cannot be written nothing is begun; looking goes on.
"""

from collections.abc import Callable

from controller.errors import JournalUnavailable
from controller.reconcile.report.event import Event, EventKind
from controller.store.store import Store

BACK = "the journal can be written again; work goes on"


class JournalWriter:
    """Writes for the loop, and remembers when that failed."""

    def __init__(self, store: Store, clock: Callable[[], float],
                 tell: Callable[[Event], None]) -> None:
        self._store = store
        self._clock = clock
        self._tell = tell
        self.fault: str | None = None

    def attempt(self, write: Callable[[], object]) -> None:
        """Do something that writes; a failure stops all work until `try_again` succeeds."""
        try:
            write()
        except JournalUnavailable as error:
            self.failed(error)

    def failed(self, error: JournalUnavailable) -> None:
        """Take note that the journal cannot be written."""
        if self.fault is None:
            self.fault = str(error)
            self._say(self.fault, "!")

    def try_again(self, catch_up: Callable[[], None]) -> bool:
        """Write once more and catch up with what was missed; return whether that went well."""
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
        """Return whether another process wrote; False while that cannot be asked."""
        try:
            return self._store.changed()
        except JournalUnavailable as error:
            self.failed(error)
            return False

    def _say(self, sentence: str, symbol: str) -> None:
        self._tell(Event(EventKind.JOURNAL, "Store/journal", "", sentence, self._clock(), symbol))
