"""The manager: the only place that constructs real things and connects them.

Everything else is given what it needs. The real clock, SSH and the state folder are made here.
"""

import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from controller.errors import JournalUnavailable
from controller.model.desired import Desired
from controller.providers.base import Provider
from controller.reconcile.act.applier import Attempt
from controller.reconcile.export import Export
from controller.reconcile.loop import Loop
from controller.reconcile.once import Once, assumptions
from controller.reconcile.report.event import Event, EventKind
from controller.reconcile.report.progress import ProgressTracker
from controller.reconcile.supervise import first_load, supervise
from controller.source.source import Source, open_source
from controller.store.store import Store
from controller.telemetry import configure

STORE_FILE = "state.db"
MakeProvider = Callable[[Desired, Callable[[], float]], Provider]


def default_state_folder() -> Path:
    """Return the state folder that is used unless another is named."""
    if "HOTSITE_STATE" in os.environ:
        return Path(os.environ["HOTSITE_STATE"])
    if os.geteuid() == 0:
        return Path("/var/lib/hotsite")
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "hotsite"


def linux_estate(desired: Desired, clock: Callable[[], float]) -> Provider:
    """Return the real estate, reached over SSH; its user declares `desired` to it."""
    # asyncssh is slow to load
    from controller.providers.linux.estate import LinuxEstate  # noqa: PLC0415
    from controller.replication.provider import ReplicaHands, ReplicatedEstate  # noqa: PLC0415
    from controller.replication.ssh_route import KeySource  # noqa: PLC0415
    from controller.transport.keys import one_time_key, pinned_keys  # noqa: PLC0415
    from controller.transport.ssh import SshTransport  # noqa: PLC0415

    transport = SshTransport()
    return ReplicatedEstate(LinuxEstate(transport, clock), ReplicaHands(
        transport, KeySource(one_time_key, pinned_keys), clock))


class Manager:
    """Makes stores, sources, providers and loops; tests pass others."""

    def __init__(self, state: Path | None = None, *, make_provider: MakeProvider = linux_estate,
                 clock: Callable[[], float] = time.time) -> None:
        self.state = state or default_state_folder()
        self.clock = clock
        self._make_provider = make_provider

    def open_store(self, *, exclusive: bool = False) -> Store:
        """Open the state folder's store.

        Errors: JournalUnavailable.
        """
        return Store.open(self.state / STORE_FILE, exclusive=exclusive)

    def look_into_store(self) -> tuple[Store, str | None]:
        """Open the store for reading; where that fails, return an empty one and a sentence why."""
        try:
            return self.open_store(), None
        except JournalUnavailable as error:
            return Store.open(":memory:"), str(error)

    def source(self, text: str) -> Source:
        """Return the source that `text` names.

        Errors: SpecError.
        """
        return open_source(text, self.state)

    async def load(self, text: str) -> Desired:
        """Return what the source declares now.

        Errors: SpecError, SourceUnavailable.
        """
        return await self.source(text).load()

    @asynccontextmanager
    async def once(self, desired: Desired, store: Store,
                   assume: Iterable[str] = ()) -> AsyncIterator[Once]:
        """Yield a run over `desired`, and close every connection afterwards.

        Errors: SpecError when a host or site that is assumed down is not declared.
        """
        assumed_down = assumptions(assume, desired)
        provider = self._make_provider(desired, self.clock)
        once = Once(provider, store, self.clock, assumed_down)
        ProgressTracker(self.clock, once.tell).follow(provider)
        try:
            yield once
        finally:
            await provider.close()

    async def export(self, desired: Desired, store: Store, machine: str, folder: str,
                     sequence: int | None, by: str, *, damaged: bool) -> Attempt:
        """Write a restore point as files on the host that holds it.

        Errors: Refused when there is no such point; JournalUnavailable: nothing was begun.
        """
        provider = self._make_provider(desired, self.clock)
        try:
            return await Export(provider, store, self.clock).run(
                desired, machine, folder, sequence, by, damaged=damaged)
        finally:
            await provider.close()

    async def run(self, text: str, *, listen: Callable[[Event], None],
                  started: Callable[[Loop], None], metrics: str | None = None) -> None:
        """Run the loop over a source until it is stopped; `started` is called with the loop.

        Errors: SpecError, SourceUnavailable, JournalUnavailable before anything has begun.
        """
        source = self.source(text)
        telemetry = configure(metrics, os.environ)
        store = self.open_store(exclusive=True)
        try:
            if store.damaged is not None:
                listen(Event(EventKind.JOURNAL, "Store/journal", "", store.damaged, self.clock(),
                             "!"))
            desired = await first_load(source, lambda sentence: listen(Event(
                EventKind.SOURCE, "Source/specs", "", sentence, self.clock(), "!")))
            provider = self._make_provider(desired, self.clock)
            tracker = ProgressTracker(self.clock, listen)
            tracker.follow(provider)
            loop = Loop(provider, store, self.clock, os.getpid(), telemetry, tracker.words)
            loop.add_listener(listen)
            started(loop)
            try:
                await supervise(loop, source, desired, lasting(text))
            finally:
                await provider.close()
        finally:
            store.close()
            telemetry.close()


def lasting(text: str) -> str:
    """Return a source's name that means the same from any working folder."""
    return text if "://" in text else str(Path(text).resolve())
