"""Actions that were refused: left alone until their nodes have changed, and then not too soon."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from controller.plan.actions.action import Action

FIRST_S: Final = 1.0
MOST_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was refused, what its nodes were like then, and how often in a row."""

    action: Action
    sentence: str
    versions: tuple[int, ...]
    count: int
    at: float

    @property
    def due_at(self) -> float:
        """Return the instant before which it is not asked again, whatever has changed."""
        return self.at + min(FIRST_S * 2.0 ** min(self.count - 1, 20), MOST_S)


class Refusals:
    """Refusals by action id; the versions of an action's nodes tell whether anything changed."""

    def __init__(self) -> None:
        self._by_id: dict[str, Refusal] = {}

    def note(self, action: Action, sentence: str, versions: tuple[int, ...], now_s: float) -> None:
        """Remember a refusal."""
        before = self._by_id.get(action.id)
        count = before.count + 1 if before else 1
        self._by_id[action.id] = Refusal(action, sentence, versions, count, now_s)

    def stands(self, action: Action, versions: tuple[int, ...], now_s: float) -> bool:
        """Return whether asking for `action` again would still be useless."""
        refusal = self._by_id.get(action.id)
        if refusal is None:
            return False
        unchanged = refusal.versions == versions and refusal.action == action
        return unchanged or now_s < refusal.due_at

    def of(self, target: str) -> Refusal | None:
        """Return the refusal that holds `target` up, the first by id."""
        return next((one for _, one in sorted(self._by_id.items())
                     if one.action.target == target), None)

    def targets(self) -> Mapping[str, Refusal]:
        """Return one refusal for each target that has any."""
        return {one.action.target: one for _, one in sorted(self._by_id.items(), reverse=True)}

    def next_due(self, now_s: float) -> float | None:
        """Return the next instant at which a refusal's wait ends; None when none runs."""
        return min((one.due_at for one in self._by_id.values() if one.due_at > now_s),
                   default=None)

    def keep_only(self, action_ids: Iterable[str]) -> None:
        """Forget what is no longer wanted."""
        wanted = set(action_ids)
        self._by_id = {name: one for name, one in self._by_id.items() if name in wanted}

    def clear(self) -> None:
        """Forget everything: a person or a commit has changed what matters."""
        self._by_id.clear()
