"""Recovery: intents that an earlier process left open are looked at before anything else is said.

Rule 1: an open intent is never repeated; what is true is seen, and then it is closed.
Rule 2: until all its nodes have answered, it counts as still running.
"""

from controller.plan.steps.plan import Plan
from controller.reconcile.act.applier import Applier
from controller.reconcile.decide.planner import known_nodes
from controller.reconcile.observe.view import View
from controller.store.journal import Intent

TWO_ENDED = frozenset({"migrate", "replicate"})


class Recovery:
    """The open intents of earlier processes that are not yet looked into."""

    def __init__(self, applier: Applier, view: View) -> None:
        self._applier = applier
        self._view = view
        self._open: dict[int, Intent] = {}
        self._took_over = False

    @property
    def pending(self) -> bool:
        """Return whether anything is still to be looked into."""
        return bool(self._open)

    def take_over(self, intents: tuple[Intent, ...]) -> None:
        """Learn what was left open, the first time that it can be read: later ones are our own."""
        if self._took_over:
            return
        self._took_over = True
        for intent in intents:
            self._open[intent.id] = intent
            self._applier.hold(intent, nodes_of(intent))

    def looked_into(self, plan: Plan) -> tuple[tuple[Intent, str], ...]:
        """Return each intent that can be closed now, with what looking showed.

        Shapes: each is returned once; `plan` was computed from what looking showed.
        """
        wanted = {step.action.id for step in plan.steps}
        found = []
        for intent in tuple(self._open.values()):
            declared = [node for node in nodes_of(intent) if node in self._view.nodes]
            if not known_nodes(self._view, tuple(declared)):
                continue
            for node in nodes_of(intent):
                if node not in declared:
                    self._view.mark_stale(node)
            del self._open[intent.id]
            found.append((intent, _sentence(intent, declared, intent.action_id in wanted)))
        return tuple(found)


def nodes_of(intent: Intent) -> tuple[str, ...]:
    """Return the nodes that the intent's action touched; a move or a copy also its goal."""
    tail = intent.action_id.rpartition(f"@{intent.node}/")[2]
    return (intent.node, tail) if intent.verb in TWO_ENDED and tail else (intent.node,)


def _sentence(intent: Intent, declared: list[str], wanted: bool) -> str:
    """Return what looking showed."""
    begun = f"the controller ended in the middle of {intent.verb}"
    if not declared:
        return f"{begun}; {intent.node} is no longer declared, so what came of it is not known"
    seen = f"{' and '.join(declared)} {'was' if len(declared) == 1 else 'were'} looked at"
    if wanted:
        return f"{begun}; {seen}: it is not done, and is decided anew"
    return f"{begun}; {seen}: nothing is left of it to do"
