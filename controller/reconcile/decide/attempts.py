"""
What was tried and is not over: actions in flight, in back-off and refused.

Workers write it, the planner and the queue read it. It lives in memory only: after a restart
everything is tried once more, and what was in flight is an open intent in the journal.

    in flight    begun and not concluded; it holds its place in the limits of concurrency
    back-off     it failed and may succeed later: again after 1s, 2s, 4s, … at most 5m (a copy 30s)
    refused      the far side said no: again once its nodes or the action itself have changed, and
                 not before a wait that grows the same way
    unseen       the nodes of a target could not be looked at before a step; the whole target waits
    given up     failed as often as a run tries; it holds no place any more

Rule 1: an action that failed holds up itself alone, never another action of the same target.
Rule 2: no method reads a clock; all instants are the event loop's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from controller.plan.actions.action import Action
from controller.plan.actions.replica import is_replica
from controller.plan.survey.context import InFlight

BACK_OFF_FIRST_S: Final = 1.0
BACK_OFF_MOST_S: Final = 300.0
JITTER: Final = 0.2
COPY_MOST_S: Final = 30.0
"""For copies: a replica that waits grows old, and no event tells that the link between two other
hosts works again."""


def back_off_s(failures: int, most_s: float, dice: Random) -> float:
    """Return how long to wait after so many earlier failures in a row; spread by chance."""
    return (min(BACK_OFF_FIRST_S * 2.0 ** min(failures, 20), most_s)
            * (1.0 + JITTER * (2.0 * dice.random() - 1.0)))


def most_s_of(target: str) -> float:
    """Return the longest back-off of a target's actions."""
    return COPY_MOST_S if is_replica(target) else BACK_OFF_MOST_S


@dataclass(frozen=True, slots=True)
class Failure:
    """What failed, how often in a row, and when it may be tried again."""

    target: str
    sentence: str
    count: int
    due_s: float


class BackOff:
    """Failures by action id."""

    def __init__(self, seed: int = 0) -> None:
        self._dice = Random(seed)
        self._by_id: dict[str, Failure] = {}

    def note(self, action: Action, sentence: str, now_s: float) -> None:
        """Remember that an action failed; each failure in a row doubles its wait."""
        before = self._by_id.get(action.id)
        count = before.count if before else 0
        delay_s = back_off_s(count, most_s_of(action.target), self._dice)
        self._by_id[action.id] = Failure(action.target, sentence, count + 1, now_s + delay_s)

    def forget(self, action_id: str) -> None:
        """Forget the failures of an action that has succeeded."""
        self._by_id.pop(action_id, None)

    def rests(self, action_id: str, now_s: float) -> bool:
        """Return whether it is too soon to try an action again."""
        failure = self._by_id.get(action_id)
        return failure is not None and now_s < failure.due_s

    def resting(self, now_s: float) -> Mapping[str, str]:
        """Return the targets that have an action in back-off, each with the reason."""
        return {one.target: one.sentence for _, one in sorted(self._by_id.items(), reverse=True)
                if now_s < one.due_s}

    def next_due(self, now_s: float) -> float | None:
        """Return the next instant at which a back-off ends; None when none runs."""
        return min((one.due_s for one in self._by_id.values() if one.due_s > now_s), default=None)

    def keep_only(self, action_ids: Iterable[str], now_s: float) -> None:
        """Forget actions that are no longer in the plan, once their back-off is over."""
        wanted = set(action_ids)
        self._by_id = {name: one for name, one in self._by_id.items()
                       if name in wanted or now_s < one.due_s}

    def clear(self) -> None:
        """End every back-off."""
        self._by_id.clear()


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was refused, the versions of its nodes at that time, and how often in a row."""

    action: Action
    sentence: str
    versions: tuple[int, ...]
    count: int
    at_s: float

    @property
    def due_s(self) -> float:
        """Return the instant before which it is not tried again, whatever has changed."""
        return self.at_s + min(BACK_OFF_FIRST_S * 2.0 ** min(self.count - 1, 20), BACK_OFF_MOST_S)


class Refusals:
    """Refusals by action id."""

    def __init__(self) -> None:
        self._by_id: dict[str, Refusal] = {}

    def note(self, action: Action, sentence: str, versions: tuple[int, ...], now_s: float) -> None:
        """Remember a refusal."""
        before = self._by_id.get(action.id)
        count = before.count + 1 if before else 1
        self._by_id[action.id] = Refusal(action, sentence, versions, count, now_s)

    def stands(self, action: Action, versions: tuple[int, ...], now_s: float) -> bool:
        """Return whether it would be useless to try `action` again now."""
        refusal = self._by_id.get(action.id)
        if refusal is None:
            return False
        unchanged = refusal.versions == versions and refusal.action == action
        return unchanged or now_s < refusal.due_s

    def targets(self) -> Mapping[str, Refusal]:
        """Return the first refusal, by action id, of each target that has any."""
        return {one.action.target: one for _, one in sorted(self._by_id.items(), reverse=True)}

    def next_due(self, now_s: float) -> float | None:
        """Return the next instant at which a refusal's wait ends; None when none runs."""
        return min((one.due_s for one in self._by_id.values() if one.due_s > now_s),
                   default=None)

    def keep_only(self, action_ids: Iterable[str]) -> None:
        """Forget actions that are no longer in the plan."""
        wanted = set(action_ids)
        self._by_id = {name: one for name, one in self._by_id.items() if name in wanted}

    def clear(self) -> None:
        """Forget every refusal."""
        self._by_id.clear()


class Attempts:
    """All that was tried and is not over."""

    def __init__(self, seed: int = 0) -> None:
        self.back_off = BackOff(seed)
        self.refusals = Refusals()
        self.given_up: set[str] = set()
        """Targets with an action that a run tries no more."""
        self._in_flight: dict[str, InFlight] = {}
        self._unseen: dict[str, float] = {}

    @property
    def in_flight(self) -> tuple[InFlight, ...]:
        """Return what has begun and not ended, by action id."""
        return tuple(self._in_flight[name] for name in sorted(self._in_flight))

    def begin(self, one: InFlight) -> None:
        """Count an action as in flight."""
        self._in_flight[one.action_id] = one

    def end(self, action_id: str) -> None:
        """Count an action as in flight no more."""
        self._in_flight.pop(action_id, None)

    def rest(self, target: str, until_s: float) -> None:
        """Let a target wait whose nodes could not be looked at."""
        self._unseen[target] = until_s

    def take_up(self, target: str) -> None:
        """End the wait of a target whose nodes could not be looked at."""
        self._unseen.pop(target, None)

    def resting(self, now_s: float) -> frozenset[str]:
        """Return the targets that have failed and are not tried at present."""
        unseen = {target for target, until_s in self._unseen.items() if now_s < until_s}
        return frozenset(self.given_up | unseen | self.back_off.resting(now_s).keys())

    def is_useless(self, action: Action, versions: tuple[int, ...], now_s: float) -> bool:
        """Return whether an action is in back-off, or would be refused once more."""
        return (self.back_off.rests(action.id, now_s)
                or self.refusals.stands(action, versions, now_s))

    def keep_only(self, action_ids: tuple[str, ...], now_s: float) -> None:
        """Forget actions that are no longer in the plan."""
        self.refusals.keep_only(action_ids)
        self.back_off.keep_only(action_ids, now_s)

    def clear(self) -> None:
        """End every wait, since a person or a commit has changed something."""
        self.refusals.clear()
        self.back_off.clear()
        self._unseen.clear()
