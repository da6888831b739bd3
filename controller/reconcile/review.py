"""A review of a change of the specs, made on facts of now or of the loop's last look.

Rule 1: nobody is contacted whom only the later specs name: they may be a stranger's.
Rule 2: facts of the last look are judged as of that look, so that the same review comes out until
        there is another; what did not answer then is unknown.
"""

from dataclasses import dataclass

from controller.errors import SourceUnavailable
from controller.model.desired import Desired
from controller.plan.output.review import Review, review
from controller.reconcile.observe.last_seen import load_seen
from controller.reconcile.once import Once, assumptions
from controller.reconcile.report.news import is_well
from controller.store.store import Store


@dataclass(frozen=True, slots=True)
class Change:
    """Specs before and after, and what is assumed to be down."""

    before: Desired
    after: Desired
    assume: tuple[str, ...] = ()

    def check(self) -> None:
        """Check that both declare what is assumed to be down.

        Errors: SpecError if one of them does not.
        """
        assumptions(self.assume, self.before)
        assumptions(self.assume, self.after)


def last_look_at(store: Store) -> float:
    """Return when a node was last seen, as the store has it.

    Errors: SourceUnavailable if none ever was.
    """
    seen = load_seen(store)
    if not seen:
        raise SourceUnavailable("no node was ever looked at from this state folder: name the one of"
                                " the loop with --state, or leave --facts out to look now")
    return max(fact.observed_at for fact in seen.values())


async def review_with(once: Once, change: Change, *, live: bool) -> Review:
    """Return what a change brings; `once` is a run that was made for the specs before it."""
    if live:
        await once.plan(change.before)
    else:
        once.plan_as_last_seen(change.before)
    before, after = once.replan(change.before), once.replan(change.after)
    return review(before, after, change.before, change.after, is_well)
