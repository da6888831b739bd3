"""Back-off: actions that failed and may succeed later, each with its own wait.

Rule 1: an action that failed holds up itself alone, never another one of the same target.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from controller.plan.actions.action import Action
from controller.plan.actions.replica import is_replica
from controller.reconcile.act.queue import BACK_OFF_FIRST_S, BACK_OFF_MOST_S, JITTER

COPY_MOST_S: Final = 30.0
"""A copy that waits grows old, and no host can see that the way between two others is mended."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What failed, how often in a row, and when it may be tried again."""

    target: str
    sentence: str
    count: int
    due_s: float


class BackOff:
    """Failures by action id. Every method takes the instant; nothing here reads a clock."""

    def __init__(self, seed: int = 0) -> None:
        self._dice = Random(seed)
        self._by_id: dict[str, Failure] = {}

    def note(self, action: Action, sentence: str, now_s: float) -> None:
        """Remember that an action failed; it rests the longer, the more often in a row."""
        count = self.failures(action.id) + 1
        most_s = COPY_MOST_S if is_replica(action.target) else BACK_OFF_MOST_S
        delay_s = min(BACK_OFF_FIRST_S * 2.0 ** min(count - 1, 20), most_s)
        delay_s *= 1.0 + JITTER * (2.0 * self._dice.random() - 1.0)
        self._by_id[action.id] = Failure(action.target, sentence, count, now_s + delay_s)

    def forget(self, action_id: str) -> None:
        """Forget the failures of an action that has succeeded."""
        self._by_id.pop(action_id, None)

    def rests(self, action_id: str, now_s: float) -> bool:
        """Return whether it is too soon to try an action again."""
        failure = self._by_id.get(action_id)
        return failure is not None and now_s < failure.due_s

    def failures(self, action_id: str) -> int:
        """Return how often in a row an action failed."""
        failure = self._by_id.get(action_id)
        return 0 if failure is None else failure.count

    def resting(self, now_s: float) -> Mapping[str, str]:
        """Return, by target at which anything rests, why."""
        return {one.target: one.sentence for _, one in sorted(self._by_id.items(), reverse=True)
                if now_s < one.due_s}

    def next_due(self, now_s: float) -> float | None:
        """Return the next instant at which a wait ends; None when none runs."""
        return min((one.due_s for one in self._by_id.values() if one.due_s > now_s), default=None)

    def keep_only(self, action_ids: Iterable[str], now_s: float) -> None:
        """Forget what is no longer wanted and has waited its time."""
        wanted = set(action_ids)
        self._by_id = {name: one for name, one in self._by_id.items()
                       if name in wanted or now_s < one.due_s}

    def clear(self) -> None:
        """End every wait: a person or a commit has changed what matters."""
        self._by_id.clear()
