"""Tells the forge what became of its newest commit, beside the loop and never in its way.

Only the newest verdict is told, once. A forge that does not answer is asked again a few times, and
then at the next verdict; one that refuses is told of in the journal, and not asked again for that
commit. What is told, and where, is read anew each time (`source/git/trust.py`): it is in a file of
this machine, since whoever may push could have our token sent to himself.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from controller.errors import OutcomeUnknown, Refused, RevisionRefused, Unavailable
from controller.reconcile.report.event import Event, EventKind
from controller.reconcile.tasks import is_set_within
from controller.source.git.repository import CommitVerdict
from controller.source.git.trust import ReportSpec, read_trust, trust_file

AGAIN_S: Final = 60.0
TRIES: Final = 5
Post = Callable[[ReportSpec, CommitVerdict], Awaitable[None]]


class CommitStatus:
    """Tells the newest verdict once it hears that there is one."""

    def __init__(self, verdict: Callable[[], CommitVerdict | None], post: Post,
                 complain: Callable[[str], None], again_s: float = AGAIN_S) -> None:
        self._verdict, self._post, self._complain = verdict, post, complain
        self._again_s = again_s
        self._news = asyncio.Event()
        self._told: CommitVerdict | None = None

    def hear(self, event: Event) -> None:
        """Note that something was said of the specs."""
        if event.kind is EventKind.SOURCE:
            self._news.set()

    async def run(self) -> None:
        """Tell each verdict, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            verdict = self._verdict()
            if verdict is not None and verdict != self._told:
                await self._tell(verdict)

    async def _tell(self, verdict: CommitVerdict) -> None:
        """Tell one verdict, until it was told, was refused, or there is another."""
        for _ in range(TRIES):
            spec = report_spec()
            if spec is None:
                return
            try:
                await self._post(spec, verdict)
            except Refused as error:
                self._told = verdict
                self._complain(f"the forge was not told of commit {verdict.commit[:12]}: {error}")
                return
            except (Unavailable, OutcomeUnknown) as error:
                trouble = str(error)
            else:
                self._told = verdict
                return
            if await is_set_within(self._news, self._again_s):
                return
        self._complain(f"the forge was not told of commit {verdict.commit[:12]}, which was tried"
                       f" {TRIES} times: {trouble}")


def report_spec() -> ReportSpec | None:
    """Return where verdicts are told; None where nowhere, or the file says nothing now."""
    try:
        return read_trust(trust_file())[0].report
    except RevisionRefused:
        return None
