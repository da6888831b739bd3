"""The manager: the only place that constructs real things and connects them.

Everything else is given what it needs. The real clock, SSH and the state folder are made here.
"""

import os
import re
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from controller.adoption.doctor.estate import judge
from controller.adoption.doctor.finding import Finding
from controller.errors import ActionError, JournalUnavailable, SpecError
from controller.model.desired import Desired
from controller.plan.output.review import Review
from controller.plan.promotion.point import Asked
from controller.providers.base import Provider
from controller.providers.reader import HostReader
from controller.reconcile.act.applier import Attempt
from controller.reconcile.break_glass.notice import GlassNotice
from controller.reconcile.break_glass.source import TARGET, GlassSource
from controller.reconcile.checkup import chosen, examine
from controller.reconcile.export import Export
from controller.reconcile.fence import FenceByHand
from controller.reconcile.importing import Import
from controller.reconcile.lease import Candidate, alone
from controller.reconcile.leave import Leave
from controller.reconcile.loop import Loop
from controller.reconcile.notify.commit_status import CommitStatus
from controller.reconcile.notify.notifier import Notifier
from controller.reconcile.notify.trial import try_receivers
from controller.reconcile.once import Once, assumptions
from controller.reconcile.report.event import Event, EventKind
from controller.reconcile.report.progress import ProgressTracker
from controller.reconcile.review import Change, last_look_at, review_with
from controller.reconcile.supervise import first_load, supervise
from controller.source.git.repository import GitSource
from controller.source.source import Source, open_source
from controller.store.lease import LeaseState
from controller.store.store import Store
from controller.telemetry import Telemetry, configure
from controller.transport.base import Endpoint

STORE_FILE = "state.db"
NO_LEASE = ("no lease is declared, so that both controllers would act: add `failover.lease` to the"
            " Estate, or run without --standby")
MakeProvider = Callable[[Desired, Callable[[], float]], Provider]
Chores = Mapping[str, Callable[[], Awaitable[None]]]
MakeReader = Callable[[tuple[Endpoint, ...], Callable[[], float]], HostReader]


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
    from controller.providers.termed import TermedTransport  # noqa: PLC0415
    from controller.replication.provider import ReplicaHands, ReplicatedEstate  # noqa: PLC0415
    from controller.replication.ssh_route import KeySource  # noqa: PLC0415
    from controller.transport.keys import one_time_key, pinned_keys  # noqa: PLC0415
    from controller.transport.ssh import SshTransport  # noqa: PLC0415

    transport = SshTransport()
    termed = TermedTransport(transport)
    return ReplicatedEstate(LinuxEstate(transport, clock, termed), ReplicaHands(
        termed, KeySource(one_time_key, pinned_keys), clock), termed)


def linux_reader(endpoints: tuple[Endpoint, ...], clock: Callable[[], float]) -> HostReader:
    """Return what reads real hosts over SSH before any spec declares them."""
    from controller.providers.linux.undeclared.reader import LinuxReader  # noqa: PLC0415
    from controller.transport.ssh import SshTransport  # noqa: PLC0415  # asyncssh is slow to load

    return LinuxReader(SshTransport(), endpoints, clock)


def boottime() -> float:
    """Return the seconds since this machine's boot, those that it slept through included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def holder_name() -> str:
    """Return a name for this process that no other controller has."""
    machine = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()) or "controller"
    return f"{machine}/{secrets.token_hex(4)}"


def candidate_of(provider: Provider, *, standby: bool = False) -> Candidate:
    """Return this process as one of those that may conduct what `provider` changes."""
    from controller.providers.lease import lease_of  # noqa: PLC0415  # asyncssh is slow to load
    from controller.providers.linux.own_machine import own_product_uuid  # noqa: PLC0415
    from controller.replication.provider import ReplicatedEstate  # noqa: PLC0415

    if not isinstance(provider, ReplicatedEstate) or provider.termed is None:
        return alone()
    termed = provider.termed
    candidate = Candidate(holder_name(), boottime, partial(lease_of, transport=termed),
                          termed.announce, standby=standby, machine_uuid=own_product_uuid())
    termed.terms = candidate
    return candidate


def notifier_of(loop: Loop, store: Store, clock: Callable[[], float],
                telemetry: Telemetry) -> Notifier:
    """Return what tells people what is wrong with the estate of a loop."""
    from controller.providers.notify.send import send  # noqa: PLC0415  # httpx is slow to load
    from controller.providers.notify.webhook import beat  # noqa: PLC0415

    return Notifier(loop, store, clock, send, beat, telemetry)


class Manager:
    """Makes stores, sources, providers and loops; tests pass others."""

    def __init__(self, state: Path | None = None, *, make_provider: MakeProvider = linux_estate,
                 clock: Callable[[], float] = time.time,
                 make_reader: MakeReader = linux_reader) -> None:
        self.state = state or default_state_folder()
        self.clock = clock
        self._make_provider = make_provider
        self._make_reader = make_reader

    @property
    def journal(self) -> Path:
        """Return the path of the journal."""
        return self.state / STORE_FILE

    def open_store(self, *, exclusive: bool = False) -> Store:
        """Open the state folder's store.

        Errors: JournalUnavailable.
        """
        return Store.open(self.journal, exclusive=exclusive)

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
        """Return what the source declares now, with what a break-glass has put over it.

        Errors: SpecError, SourceUnavailable; JournalUnavailable where nobody knows of the latter.
        """
        source = self.source(text)
        if not isinstance(source, GitSource) or not self.journal.exists():
            return await source.load()
        with self.open_store() as store:
            return await with_glass(source, store, self.clock, keeps=False).load()

    @asynccontextmanager
    async def once(self, desired: Desired, store: Store, assume: Iterable[str] = (),
                   as_of: float | None = None) -> AsyncIterator[Once]:
        """Yield a run over `desired`, and close every connection afterwards.

        Shapes: with `as_of` it only plans, as if it were then.
        Errors: SpecError when a host or site that is assumed down is not declared.
        """
        assumed_down = assumptions(assume, desired)
        provider = self._make_provider(desired, self.clock)
        once = Once(provider, store, self.clock, assumed_down, candidate_of(provider), as_of)
        if assumed_down:    # nothing is done: where the loop stands counts for what it would do
            once.stand_at((store.status() or {}).get("place"))
        ProgressTracker(self.clock, once.tell).follow(provider)
        try:
            yield once
        finally:
            await provider.close()

    async def review(self, store: Store, change: Change, *, live: bool) -> tuple[Review, float]:
        """Return what a change of the specs brings, and as of when that was judged.

        Errors: SpecError for what is assumed and not declared; SourceUnavailable without facts.
        """
        at = self.clock() if live else last_look_at(store)
        change.check()
        async with self.once(change.before, store, change.assume,
                             None if live else at) as once:
            return await review_with(once, change, live=live), at

    @asynccontextmanager
    async def importing(self, endpoints: tuple[Endpoint, ...],
                        folder: Path) -> AsyncIterator[Import]:
        """Yield an import into a folder, and close every connection afterwards."""
        reader, store = self._make_reader(endpoints, self.clock), Store.open(":memory:")
        try:
            yield Import(reader, lambda desired: self.once(desired, store), folder, endpoints)
        finally:
            store.close()
            await reader.close()

    async def examine(self, text: str, names: Sequence[str]) -> list[Finding]:
        """Return what is wrong on the declared hosts, or on those that are named.

        Errors: SpecError for a name that is not declared; SourceUnavailable.
        """
        from controller.providers.linux.estate import endpoints_of  # noqa: PLC0415

        desired = await self.load(text)
        known = {*desired.hosts, *(host.spec.address for host in desired.hosts.values())}
        if unknown := [name for name in names if name not in known]:
            raise SpecError((f"{', '.join(unknown)}: no such host is declared: there are"
                             f" {', '.join(desired.hosts)}",))
        endpoints = chosen(desired, endpoints_of(desired), names)
        reader = self._make_reader(tuple(endpoints), self.clock)
        provider = self._make_provider(desired, self.clock)
        try:
            await provider.declare(desired)
            return judge(await examine(reader, provider, desired, endpoints, self.clock()))
        finally:
            await reader.close()
            await provider.close()

    async def try_receivers(self, text: str,
                            names: Sequence[str]) -> dict[str, str | ActionError]:
        """Send a message that nothing is wrong; return, by receiver, what became of it.

        Errors: SpecError for a name that is not declared; SourceUnavailable.
        """
        from controller.providers.notify.send import send  # noqa: PLC0415  # httpx is slow to load

        desired = await self.load(text)
        return await try_receivers(desired, names, send, self.clock())

    async def read_lease(self, desired: Desired) -> tuple[str, LeaseState] | None:
        """Return where the lease is kept, and whose it is; None where none is declared.

        Errors: as `Lease.read`.
        """
        provider = self._make_provider(desired, self.clock)
        try:
            await provider.declare(desired)
            candidate = candidate_of(provider)
            candidate.declare(desired)
            return await candidate.read()
        finally:
            await provider.close()

    @asynccontextmanager
    async def fence_by_hand(self, desired: Desired, store: Store) -> AsyncIterator[FenceByHand]:
        """Yield what fences one host, and close every connection afterwards."""
        provider = self._make_provider(desired, self.clock)
        try:
            yield FenceByHand(provider, store, self.clock, desired)
        finally:
            await provider.close()

    @asynccontextmanager
    async def leave(self, desired: Desired, store: Store) -> AsyncIterator[Leave]:
        """Yield what takes ours off the nodes, and close every connection afterwards."""
        provider = self._make_provider(desired, self.clock)
        try:
            yield Leave(provider, store, self.clock, candidate_of(provider), desired)
        finally:
            await provider.close()

    async def export(self, desired: Desired, store: Store, machine: str, folder: str,
                     sequence: int | None, by: str, *, damaged: bool) -> Attempt:
        """Write a restore point as files on the host that holds it.

        Errors: Refused when there is no such point; JournalUnavailable: nothing was begun.
        """
        provider = self._make_provider(desired, self.clock)
        try:
            return await Export(provider, store, self.clock, candidate_of(provider)).run(
                desired, machine, folder, sequence, by, damaged=damaged)
        finally:
            await provider.close()

    async def release(self, desired: Desired, store: Store, machine: str, sequence: int | None,
                      by: str) -> Attempt:
        """Let go the tail that a VM's replica keeps; errors as `export`."""
        provider = self._make_provider(desired, self.clock)
        try:
            return await Export(provider, store, self.clock, candidate_of(provider)).release(
                desired, machine, sequence, by)
        finally:
            await provider.close()

    async def drill(self, desired: Desired, store: Store, target: str, asked: Asked,
                    by: str) -> tuple[tuple[str, bool], ...]:
        """Start restore points apart; return what came of each and whether it is proven.

        Errors: as `export`.
        """
        provider = self._make_provider(desired, self.clock)
        try:
            return await Export(provider, store, self.clock, candidate_of(provider)).drill(
                desired, target, asked, by)
        finally:
            await provider.close()

    async def run(self, text: str, *, listen: Callable[[Event], None],
                  started: Callable[[Loop], None], metrics: str | None = None,
                  standby: bool = False, place: str | None = None) -> None:
        """Run the loop over a source until it is stopped; `started` is called with the loop.

        Shapes: `standby` leaves the lease to another controller that may still come; `place` is
        where this one stands.

        Errors: SpecError, SourceUnavailable, JournalUnavailable before anything has begun.
        """
        branch = self.source(text)
        telemetry = configure(metrics, os.environ)
        store = self.open_store(exclusive=True)
        source = with_glass(branch, store, self.clock)
        try:
            if store.damaged is not None:
                listen(Event(EventKind.JOURNAL, "Store/journal", "", store.damaged, self.clock(),
                             "!"))
            desired = await first_load(source, lambda sentence: listen(Event(
                EventKind.SOURCE, "Source/specs", "", sentence, self.clock(), "!")))
            if standby and desired.estate.spec.failover.lease is None:
                raise SpecError((NO_LEASE,))
            provider = self._make_provider(desired, self.clock)
            tracker = ProgressTracker(self.clock, listen, store.save_progress)
            tracker.follow(provider)
            loop = Loop(provider, store, self.clock, os.getpid(), telemetry, tracker.words,
                        candidate_of(provider, standby=standby))
            loop.add_listener(listen)
            loop.stand_at(place)
            started(loop)
            try:
                await supervise(loop, source, desired, lasting(text), {
                    "telling people": notifier_of(loop, store, self.clock, telemetry).run,
                    **forge_of(branch, loop, store, self.clock),
                    **notice_of(source, loop, provider, store, self.clock)})
            finally:
                await provider.close()
        finally:
            store.close()
            telemetry.close()


def with_glass(source: Source, store: Store, clock: Callable[[], float], *,
               keeps: bool = True) -> Source:
    """Return a branch with what a person has put in force over it; any other source as it is.

    Shapes: what does not keep it only reads: it ends nothing.
    """
    return GlassSource(source, store, clock, keeps=keeps) if isinstance(
        source, GitSource) else source


def notice_of(source: Source, loop: Loop, provider: Provider, store: Store,
              clock: Callable[[], float]) -> Chores:
    """Return what says of a break-glass what its end undoes; none where there can be none."""
    if not isinstance(source, GlassSource):
        return {}
    source.tell = lambda sentence: loop.note(EventKind.BREAK_GLASS, TARGET, sentence, good=False)
    return {"watching the break-glass": GlassNotice(source, provider, store, clock,
                                                    lambda: loop.desired).run}


def forge_of(source: Source, loop: Loop, store: Store, clock: Callable[[], float]) -> Chores:
    """Return what tells the forge of its commits; none where the specs are in no branch."""
    if not isinstance(source, GitSource):
        return {}
    from controller.providers.notify.commit_status import post_status  # noqa: PLC0415

    status = CommitStatus(
        lambda: source.verdict,
        lambda spec, one: post_status(spec, one.commit, one.sentence, good=one.good),
        lambda sentence: note_quietly(store, sentence, clock()))
    loop.add_listener(status.hear)
    return {"telling the forge": status.run}


def note_quietly(store: Store, sentence: str, at: float) -> None:
    """Write that the forge was not told; a journal that fails now fails nothing."""
    with suppress(JournalUnavailable):
        store.note(EventKind.SOURCE, "Source/specs", sentence, at)


def lasting(text: str) -> str:
    """Return a source's name that means the same from any working folder."""
    return text if "://" in text else str(Path(text).resolve())
