"""What a person may put in force over the specs: from a folder to a break-glass, and its end.

The folder is the whole specs, as `break-glass copy` writes them out or as a checkout has them. What
it changes is told from the commit that is in force; that change is then laid over the same commit
and loaded, so that what a person says yes to is what the loop will load. Nothing is written before
that yes but to the person's own folder.

Rule 1: a folder that was copied from another commit is refused: it would take back what the commits
        since then have changed.
"""

import secrets
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from controller.errors import Refused, SourceUnavailable, SpecError
from controller.model.desired import Desired
from controller.model.units import render_duration, render_instant
from controller.model.virtual_machine import Deletion
from controller.plan.break_glass.break_glass import (
    ABOVE,
    MOST_S,
    BreakGlass,
    GlassChange,
    forbidden,
    listed,
)
from controller.plan.gates.approval import content
from controller.plan.gates.scopes import declared_object
from controller.plan.steps.plan import Plan, Verdict
from controller.reconcile.break_glass.source import FOLDER, TARGET, as_texts, targets_of, written
from controller.reconcile.report.event import EventKind
from controller.source.break_glass.overlay import changes_of, files_with, overlay
from controller.source.break_glass.patch import patch_of
from controller.source.git.repository import GitSource
from controller.source.load import load_folder
from controller.source.source import open_source
from controller.store.store import Store

WHY_CHARACTERS_MAX: Final = 500
BASE: Final = ".hotsite-commit"
"""In a copied folder: the commit that it is a copy of. The loader reads no hidden file."""


class Proposal(NamedTuple):
    """A break-glass that nobody has said yes to yet, and the specs with it and without."""

    glass: BreakGlass
    specs: Desired
    """Those of the commit."""
    desired: Desired
    """The same with the changes in it."""


async def propose(branch: GitSource, folder: Path, by: str, why: str, span_s: float,
                  now_s: float) -> Proposal:
    """Return what a folder of specs would put in force.

    Errors: SpecError where its specs are wrong; Refused where it may not be put in force this way;
    SourceUnavailable where no commit is in force here.
    """
    if not 0 < span_s <= MOST_S:
        raise Refused(f"a break-glass lasts {render_duration(MOST_S)} at most: what has to last"
                      " longer is a commit")
    if not why.strip():
        raise Refused("a break-glass needs a reason: whoever reads of it wants to know why")
    if len(why) > WHY_CHARACTERS_MAX or not (why + by).isprintable():
        raise Refused(f"a reason is one line of {WHY_CHARACTERS_MAX} characters at most")
    held = branch.in_force()
    check_folder(folder, held.commit)
    specs, edited = load_folder(held.folder, held.commit[:12]), load_folder(folder)
    changes = changes_of(folder, edited, written(held.folder, specs), written(folder, edited))
    if not changes:
        raise Refused(f"{folder} declares what commit {held.commit[:12]} does, which is in force:"
                      " there is nothing to break the glass for")
    found = [forbidden(one, keeps_data=keeps_data(one, specs, edited)) for one in changes]
    if any(found):
        raise Refused("; ".join(filter(None, found)))
    glass = BreakGlass(secrets.token_hex(4), by, why.strip(), now_s, now_s + span_s, held.commit,
                       changes, targets_of(specs, edited, changes))
    with TemporaryDirectory(prefix="hotsite-glass-") as name:
        files = files_with(held.folder, specs, changes)
        tree = overlay(held.folder, files, Path(name) / "specs")
        desired = load_folder(tree, glass.revision(held.commit))
        odd = [target for target, text in as_texts(edited).items()
               if as_texts(desired).get(target) != text]
        if odd:
            raise SpecError((f"{odd[0]} cannot be written into the specs in force: give each"
                             " document its own `---` line",))
        glass = replace(glass, patch=await patch_of(branch.git, held.folder, files, tree,
                                                    branch.address.folder))
    return Proposal(glass, specs, desired)


def branch_of(store: Store, state: Path) -> GitSource:
    """Return the branch that the loop of a state folder follows.

    Errors: SourceUnavailable if none ever ran; Refused if it follows a folder; JournalUnavailable.
    """
    where = ((store.status() or {}).get("source") or {}).get("where")
    if not where:
        raise SourceUnavailable("no loop has run with this state folder, so that no commit is in"
                                " force: `hotsite apply FOLDER` does without git")
    source = open_source(str(where), state)
    if not isinstance(source, GitSource):
        raise Refused(f"the loop follows {source.describe()}, not git: edit that")
    return source


def copy(branch: GitSource, store: Store, folder: Path) -> str:
    """Write the specs in force into a new folder, and return their revision.

    Errors: SourceUnavailable; Refused if the folder is there already; JournalUnavailable.
    """
    held, glass = branch.in_force(), store.break_glass()
    revision = held.commit[:12] if glass is None else glass.revision(held.commit)
    tree = held.folder if glass is None else branch.folder / FOLDER / revision
    if not tree.is_dir():
        raise SourceUnavailable(f"the specs {revision} are not written out here: the loop does that"
                                " when it runs. Try again, or `hotsite break-glass end` first")
    try:
        if folder.exists() and any(folder.iterdir()):
            raise Refused(f"{folder} is there already: name a new folder")
        shutil.copytree(tree, folder, symlinks=True, dirs_exist_ok=True)
        (folder / BASE).write_text(f"{held.commit}\n")
    except OSError as error:
        raise Refused(f"{folder} cannot be written: {error.strerror or error}") from error
    return revision


def check_folder(folder: Path, commit: str) -> None:
    """Check that a folder is one, and, if it was copied, that it is a copy of the commit in force.

    Errors: Refused.
    """
    if not folder.is_dir():
        raise Refused(f"{folder} is no folder: break-glass takes the whole specs, as `hotsite"
                      " break-glass copy` writes them out")
    try:
        base = (folder / BASE).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return
    if base != commit:
        raise Refused(f"{folder} is a copy of commit {base[:12]}, and {commit[:12]} is in force by"
                      " now: it would take back what came since. Copy anew, and edit that")


def keeps_data(change: GlassChange, before: Desired, after: Desired) -> bool:
    """Return whether a change neither lets data be deleted, nor removes what lets it."""
    kind, _, name = change.target.partition("/")
    if kind != "VirtualMachine":
        return True
    was, now = before.virtual_machines.get(name), after.virtual_machines.get(name)
    deletes = [one is not None and one.spec.deletion is Deletion.DELETE for one in (was, now)]
    return not any(deletes) or all(deletes)


def agreed(plan: Plan, anyway: Plan, glass: BreakGlass, *,
           answered: bool) -> Iterable[tuple[str, str]]:
    """Yield the id and content of each step that a yes to a plan covers.

    Shapes: `anyway` is the plan of the commit alone: what it wants of other objects waits as
    before. `answered` says that a person has seen the plan, and so what its steps ask.
    """
    due = {(step.action.id, content(step.action)) for step in anyway.steps}
    for step in plan.steps:
        one = step.action.id, content(step.action)
        if (step.ruling.verdict is not Verdict.REFUSED and step.action.rung.height < ABOVE.height
                and (answered or step.action.ask is None)
                and (one not in due or declared_object(step.action.target) in glass.targets)):
            yield one


def given_up(before: BreakGlass | None, glass: BreakGlass) -> str:
    """Return what of an earlier break-glass one in its place has not; empty: nothing."""
    left = sorted(set(before.targets) - set(glass.targets)) if before else []
    return (f"It takes the place of the break-glass of {before.by}: {listed(left)} as git says"
            " again, by the ordinary gates" if before and left else "")


def begin(store: Store, glass: BreakGlass, now_s: float) -> None:
    """Put it in force: the loop reads it within seconds.

    Errors: JournalUnavailable.
    """
    before = store.break_glass()
    store.save_break_glass(glass)
    instead = f", in place of that of {before.by}" if before else ""
    less = given_up(before, glass)
    store.note(EventKind.BREAK_GLASS, TARGET, f"{glass.sentence} until"
               f" {render_instant(glass.until_at)}{instead}, because: {glass.why}. For that, no"
               f" window and no second person is waited for{less and f'. {less}'}", now_s)


def end(store: Store, by: str, now_s: float) -> BreakGlass:
    """End the one in force by a person's word.

    Errors: Refused if there is none; JournalUnavailable.
    """
    glass = store.break_glass()
    sentence = "" if glass is None else (
        f"the break-glass of {glass.by} is over: {by} has ended it; git is in force again, by the"
        " ordinary gates")
    if glass is None or not store.end_break_glass(glass.id, now_s, sentence):
        raise Refused("no break-glass is in force: there is nothing to end")
    store.note(EventKind.BREAK_GLASS, TARGET, sentence, now_s)
    return glass
