"""A branch with what a person has put in force over it: break-glass.

    branch ──► commit in force ──┐
    store  ──► break-glass ──────┴─► judged ─► a tree of both ─► loaded whole ─► Desired, or git's

The branch is followed as ever, reachable or not. Where there is a break-glass, what it changes is
laid over the commit that is in force, and the whole is loaded and checked like any commit: what
does not hold together changes nothing. Its revision is the commit's name and the break-glass's, so
that each of both makes a new one.

It ends, once and for ever, by the first of these: a person ends it; its time is over; a commit
declares what it changed, in the same or in another way. Each object counts for itself: what a
commit does not touch stays as the person has it, until its time is over. How that ended is a line
of the journal, and what follows is decided through the gates like any other commit.

Its time runs by the clock that is never set. Where the clock on the wall is set meanwhile, its end
is moved by as much, and the end that people read is true again; after a restart the wall counts,
within the time that was given. A crash leaves at most a tree that nobody reads, which the next one
clears.

Rule 1: no git is needed to begin or end it: neither asks for the remote.
Rule 2: it says what its end undoes before anything is undone.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from controller.errors import JournalUnavailable, SourceUnavailable, SpecError
from controller.model.desired import Desired
from controller.model.units import render_instant
from controller.plan.break_glass.break_glass import BreakGlass, GlassChange, Judged, judge, listed
from controller.reconcile.decide.declared import documents_of
from controller.reconcile.report.event import EventKind
from controller.reconcile.tasks import cancel, now_s
from controller.source.break_glass.overlay import declared_in, files_with, overlay
from controller.source.break_glass.patch import patch_of
from controller.source.git.repository import GitSource
from controller.source.load import SpecCache
from controller.store.store import Store

LOOK_S: Final = 1.0
"""How often it is looked for, beside the branch."""
AGAIN_S: Final = 30.0
"""What could not be written out is tried again this much later."""
STEP_S: Final = 30.0
"""A clock that is set by less than this moves nothing."""
FOLDER: Final = "glass"
TARGET: Final = "Source/specs"
SHOWN: Final = 10


class Tree(NamedTuple):
    """The specs of a commit, as they are loaded and where they lie."""

    desired: Desired
    commit: str
    folder: Path


class GlassSource:
    """A branch, and at most one break-glass over it."""

    def __init__(self, branch: GitSource, store: Store, clock: Callable[[], float],
                 steady: Callable[[], float] = now_s, *, keeps: bool = True) -> None:
        self.branch = branch
        self._store = store
        self._clock = clock
        self._steady = steady
        self._keeps = keeps
        self._cache = SpecCache()
        self._base: Tree | None = None
        self._deadline: tuple[str, float] | None = None
        self._seen: str | None = None
        self._again_s: float | None = None
        self._glass: BreakGlass | None = None
        self._is_up = False
        self.fault = ""
        """Why the branch could not be read when something else was loaded."""
        self.tell: Callable[[str], None] = self._note

    @property
    def specs(self) -> Desired | None:
        """Return the specs of the commit alone; None before the first."""
        return self._base.desired if self._base else None

    def describe(self) -> str:
        """Return the branch, its commit, and what lies over it."""
        said, glass = self.branch.describe(), self._glass
        return said if glass is None else (
            f"{said}, and over it what {glass.by} has put in force by break-glass until"
            f" {render_instant(glass.until_at)} ({glass.why})")

    async def load(self) -> Desired:
        """Return what the branch declares, with the break-glass over it.

        Errors: as those of the branch; SpecError where both do not hold together;
        JournalUnavailable.
        """
        found = self._found()
        is_news, self._seen, self._again_s = found != self._seen or self._is_over(), found, None
        self.fault = ""
        with suppress(JournalUnavailable):      # what it lies over stays here, for a restart
            held = self._store.break_glass()
            self.branch.kept = held.base if held else ""
        try:
            desired = await self.branch.load()
        except (SpecError, SourceUnavailable) as error:
            if self._base is None or not is_news:
                raise
            self.fault = str(error).partition("\n")[0]
        else:
            good = self.branch.good
            assert good is not None, "it was loaded well"
            self._base = Tree(desired, good.commit, good.folder)
        try:
            return await self._with_glass(self._base)
        except SourceUnavailable:
            self._again_s = self._steady() + AGAIN_S
            raise
        except SpecError as error:
            if self._is_up:     # what was loaded before stays in force
                raise
            return await self._earlier(error)

    async def _earlier(self, error: SpecError) -> Desired:
        """Return the break-glass over the commit that it was last in force over: after a restart,
        where the newest commit does not fit it.

        Errors: SourceUnavailable if that commit is not here any more.
        """
        glass = self._store.break_glass()
        folder = self.branch.trees / (glass.base if glass else "")
        if glass is None or not folder.is_dir():
            raise SourceUnavailable(str(error)) from error
        specs = await asyncio.to_thread(SpecCache().load, folder, glass.base[:12])
        self._base = Tree(specs, glass.base, folder)
        desired = await self._with_glass(self._base)
        self.fault = str(error).partition("\n")[0]
        return desired

    async def changes(self) -> AsyncIterator[None]:
        """Yield when the branch may have changed, or the break-glass has, or its time is over."""
        branch = self.branch.changes()
        moved = asyncio.ensure_future(anext(branch))
        try:
            while True:
                await asyncio.wait({moved}, timeout=LOOK_S)
                if moved.done():
                    moved.result()
                    moved = asyncio.ensure_future(anext(branch))
                    yield
                elif (self._found() != self._seen or self._is_over()
                      or (self._again_s is not None and self._steady() >= self._again_s)):
                    yield
        finally:
            await cancel(moved)

    def _found(self) -> str | None:
        """Return which break-glass is in the store; None where there is none."""
        try:
            glass = self._store.break_glass()
        except JournalUnavailable:
            return self._seen
        return None if glass is None else glass.id

    def _is_over(self) -> bool:
        """Return whether its time has run out; its end is moved where the clock was set."""
        try:
            glass = self._store.break_glass()
            return glass is not None and self.left_s(glass) <= 0
        except JournalUnavailable:
            return False

    def left_s(self, glass: BreakGlass) -> float:
        """Return how long it lasts, by the clock that is never set.

        Errors: JournalUnavailable.
        """
        now, steady = self._clock(), self._steady()
        given_s = glass.until_at - glass.begun_at
        if self._deadline is None or self._deadline[0] != glass.id:
            self._deadline = glass.id, steady + max(0.0, min(glass.until_at - now, given_s))
        left_s = self._deadline[1] - steady
        if self._keeps and left_s > 0 and abs(glass.until_at - now - left_s) > STEP_S:
            self._store.renew_break_glass(replace(
                glass, until_at=now + left_s, begun_at=now + left_s - given_s))
        return left_s

    async def _with_glass(self, base: Tree) -> Desired:
        """Return the specs of a commit, with what of the break-glass they leave."""
        glass, self._glass = self._store.break_glass(), None
        if glass is not None and self.left_s(glass) <= 0:
            self._end(glass, f"its time is over; commit {base.commit[:12]} is in force again"
                      f"{undoing(glass.undoes)}")
            glass = None
        if glass is None:
            self._is_up = True
            self._clear("")
            return base.desired
        judged = judge(glass.changes, written(base.folder, base.desired))
        if not judged.kept:
            self._end(glass, f"commit {base.commit[:12]} {decided(judged)}")
            self._is_up = True
            return base.desired
        with self._place() as name:
            desired, self._glass = await self._compose(base, glass, judged, Path(name))
        self._is_up = True
        return desired

    async def _compose(self, base: Tree, glass: BreakGlass, judged: Judged,
                       folder: Path) -> tuple[Desired, BreakGlass]:
        """Return the specs with the changes that are left, and the break-glass of those alone.

        Errors: SpecError where they do not hold together; SourceUnavailable.
        """
        revision = glass.revision(base.commit)
        tree = folder / revision
        try:
            files = files_with(base.folder, base.desired, judged.kept)
            overlay(base.folder, files, tree)
            desired = await asyncio.to_thread(self._cache.load, tree, revision)
            differs(base, desired, tree, judged.kept)
        except SpecError as error:
            more = f"; and {len(error.problems) - 1} more" if len(error.problems) > 1 else ""
            raise SpecError((
                f"commit {base.commit[:12]} and the break-glass of {glass.by} do not hold together:"
                f" {error.problems[0]}{more}. `hotsite break-glass end` ends it",)) from error
        now = replace(glass, base=base.commit, changes=judged.kept,
                      targets=targets_of(base.desired, desired, judged.kept))
        if now != glass or not glass.patch:
            now = replace(now, patch=await patch_of(
                self.branch.git, base.folder, files, tree, self.branch.address.folder))
            if self._keeps:
                self._store.renew_break_glass(now)
        if self._keeps and len(judged.kept) < len(glass.changes):
            self.tell(f"of the break-glass of {glass.by} a part is over: commit"
                       f" {base.commit[:12]} {decided(judged)}; {listed(now.targets)} still as"
                       f" {glass.by} put it")
        self._clear(revision)
        return desired, now

    def _end(self, glass: BreakGlass, why: str) -> None:
        """End it and say so; what another process has ended was said by that one."""
        sentence = f"the break-glass of {glass.by} is over: {why}"
        self._seen = None
        if self._keeps and self._store.end_break_glass(glass.id, self._clock(), sentence):
            self.tell(sentence)

    def _note(self, sentence: str) -> None:
        """Write a line of the journal: no loop tells it yet."""
        self._store.note(EventKind.BREAK_GLASS, TARGET, sentence, self._clock())

    def _place(self) -> AbstractContextManager[str]:
        """Yield where the tree of both is made: a reader's goes with it."""
        return nullcontext(str(self.branch.folder / FOLDER)) if self._keeps else (
            TemporaryDirectory(prefix="hotsite-glass-"))

    def _clear(self, revision: str) -> None:
        """Delete the trees of earlier revisions."""
        folder = self.branch.folder / FOLDER
        for path in folder.glob("*") if self._keeps and folder.is_dir() else ():
            if path.name != revision:
                shutil.rmtree(path, ignore_errors=True)


def written(tree: Path, desired: Desired) -> dict[str, str]:
    """Return every document and template of a tree as text that can be compared.

    Errors: SourceUnavailable.
    """
    return declared_in(tree, desired, as_texts)


def as_texts(desired: Desired) -> Mapping[str, str]:
    """Return every document as JSON, by target."""
    return {target: json.dumps(one.content, sort_keys=True)
            for target, one in documents_of(desired).items()}


def differs(base: Tree, desired: Desired, tree: Path, changes: tuple[GlassChange, ...]) -> None:
    """Check that specs differ from a commit's by the changes, and by nothing else.

    Errors: SpecError.
    """
    before, after = written(base.folder, base.desired), written(tree, desired)
    wanted = {one.target: one.after for one in changes}
    odd = [target for target in sorted(before.keys() | after.keys())
           if after.get(target, "") != wanted.get(target, before.get(target, ""))
           and not (target.startswith("File/") and target not in after)]
    if odd:
        raise SpecError((f"{listed(odd)} not what was meant once the changes are written into the"
                         " files: give each document its own `---` line",))


def targets_of(before: Desired, after: Desired,
               changes: tuple[GlassChange, ...]) -> tuple[str, ...]:
    """Return every object that differs by changes, the VMs of changed templates among them."""
    found = {one.target for one in changes if not one.target.startswith("File/")}
    if len(found) < len(changes):
        found |= {f"VirtualMachine/{name}" for name, text in after.templates.items()
                  if before.templates.get(name) != text}
    return tuple(sorted(found))


def decided(judged: Judged) -> str:
    """Return what a commit has made of objects."""
    words = [f"{listed(judged.contained)} in it as in the break-glass"] if judged.contained else []
    words += [f"{listed(judged.otherwise)} decided otherwise by it"] if judged.otherwise else []
    return "is in force: " + " and ".join(words)


def undoing(undoes: tuple[str, ...] | None) -> str:
    """Return what an end undoes, in words."""
    if undoes is None:
        return ", by the ordinary gates"
    if not undoes:
        return ", which undoes nothing"
    more = f"; and {len(undoes) - SHOWN} more" if len(undoes) > SHOWN else ""
    return f", which by the ordinary gates undoes: {'; '.join(undoes[:SHOWN])}{more}"

