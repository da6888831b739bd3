"""Break-glass: what a person has put in force over the specs, while git cannot be had.

A change replaces, adds or removes one declared document, or replaces one template. It remembers
what stood there before, so that a later commit can be told from the one it was made against:

    the commit declares what it did before      the change stays
    the commit declares the same as the change  the change is over: git has it
    the commit declares something else          the change is over: git has decided otherwise

Rule 1: it lasts for a time that is bounded, whatever clocks say.
Rule 2: it answers windows, autonomy and the second person for the objects that it changes, up to
        `prune`; no law, no refusal, no other object, and nothing that deletes or fails over.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from controller.model.condition import Condition, ConditionType, Status
from controller.model.document import Rung
from controller.model.units import render_instant

MOST_S: Final = 72 * 3600.0
"""A weekend with a forge that is down."""
NOTICE_S: Final = 1800.0
"""So long before its end it says what that undoes; a quarter of its time, where that is less."""
ABOVE: Final = Rung.FAILOVER
"""It answers for nothing on this rung or a higher one."""


@dataclass(frozen=True, slots=True)
class GlassChange:
    """One document, or one template, that is not as the specs have it."""

    target: str
    """`Kind/name`, or `File/name` of a template."""
    file: str
    """Where it stands, or is to stand: relative to the folder of the specs."""
    before: str
    """The document as JSON, or the template's text; empty: there was none."""
    after: str
    """The same, as it is now; empty: it is removed."""
    text: str
    """What stands in the file now."""


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """What one person has put in force, why, and until when."""

    id: str
    by: str
    why: str
    begun_at: float
    until_at: float
    base: str
    """The commit that the patch is against."""
    changes: tuple[GlassChange, ...]
    targets: tuple[str, ...]
    """`Kind/name` of every object that differs from the specs because of it."""
    patch: str = ""
    """As `git apply` takes it."""
    agreed: tuple[tuple[str, str], ...] = ()
    """The id and content of each step that the person was shown and said yes to."""
    undoes: tuple[str, ...] | None = None
    """What its end would bring, in sentences; None: it is not that far yet."""

    @property
    def notice_at(self) -> float:
        """Return when it says what its end undoes."""
        return self.until_at - min(NOTICE_S, (self.until_at - self.begun_at) / 4)

    @property
    def sentence(self) -> str:
        """Return who changed what over the specs."""
        return f"{self.by} has broken the glass: {listed(self.targets)} as git does not say"

    def revision(self, commit: str) -> str:
        """Return the name of a commit's specs with this in force over them."""
        return f"{commit[:12]}{MARK}{self.id}"

    def is_in(self, revision: str) -> bool:
        """Return whether it is in force in specs of that revision."""
        return revision.endswith(f"{MARK}{self.id}")


MARK: Final = "+glass-"
SHOWN: Final = 3


def listed(names: Iterable[str]) -> str:
    """Return the first names, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more + (" is" if len(every) == 1 else " are")


@dataclass(frozen=True, slots=True)
class Judged:
    """What a commit makes of the changes."""

    kept: tuple[GlassChange, ...]
    contained: tuple[str, ...]
    """Targets that the commit declares as the changes do."""
    otherwise: tuple[str, ...]
    """Targets that the commit declares in a third way."""


def judge(changes: Iterable[GlassChange], declared: Mapping[str, str]) -> Judged:
    """Return what becomes of changes under specs; `declared` has what stands there, by target."""
    kept, contained, otherwise = [], [], []
    for one in changes:
        now = declared.get(one.target, "")
        if now == one.after:
            contained.append(one.target)
        elif now == one.before:
            kept.append(one)
        else:
            otherwise.append(one.target)
    return Judged(tuple(kept), tuple(contained), tuple(otherwise))


def forbidden(change: GlassChange, *, keeps_data: bool) -> str:
    """Return why a change may not be made this way; empty where it may.

    Shapes: `keeps_data` says that it neither brings `deletion: delete` nor removes what has it.
    """
    if change.target.startswith("Estate/"):
        return (f"{change.target}: the rules that all else is kept by are not changed by"
                " break-glass: a commit does that")
    if raises_autonomy(change):
        return (f"{change.target} would grant more `autonomy`, for what would be deleted or failed"
                " over, too, and for other objects in it: break-glass grants none; leave it as it"
                " is")
    if not keeps_data:
        return (f"{change.target} has `deletion: delete`: break-glass takes no data away, and"
                " neither says it may be nor removes what it is said of")
    return ""


def raises_autonomy(change: GlassChange) -> bool:
    """Return whether a change may let the loop go further by itself than the specs let it.

    Shapes: where it says nothing any more, what is around it may grant more.
    """
    if change.target.startswith("File/") or not change.after:
        return False
    was, now = ((json.loads(text or "{}").get("spec") or {}).get("autonomy")
                for text in (change.before, change.after))
    return was != now and (was is None or now is None or Rung(now).height > Rung(was).height)


def condition_of(glass: BreakGlass, estate: str, revision: str, now_s: float) -> Condition:
    """Return the condition that says what is in force over the specs, and until when."""
    reason, more = "InForce", ""
    if not glass.is_in(revision):
        reason, more = "NotInForce", "; it is not in force: `hotsite status` says why"
    elif now_s >= glass.notice_at:
        reason = "SoonOver"
        if glass.undoes:
            more = f"; its end undoes: {'; '.join(glass.undoes[:SHOWN])}"
    return Condition(
        f"Estate/{estate}", ConditionType.BREAK_GLASS, Status.TRUE, reason,
        f"{glass.sentence} until {render_instant(glass.until_at)}, because: {glass.why}{more}",
        revision)
