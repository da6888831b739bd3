"""Recovery: intents that an earlier process left open.

Rule 1: an open intent is never repeated; its nodes are looked at, and then it is closed.
Rule 2: until all its nodes have answered, it counts as in flight. A host that is fenced does not
        answer, and its BMC is read all the time: what has become of its power shows by itself.
"""

from controller.plan.actions.fencing import FenceHost
from controller.plan.steps.plan import Plan
from controller.reconcile.act.applier import Applier
from controller.reconcile.decide.planner import known_nodes
from controller.reconcile.observe.view import View
from controller.store.journal import Intent

TWO_ENDED = frozenset({"migrate", "replicate"})
FENCE = FenceHost.verb


class Recovery:
    """The open intents of earlier processes whose nodes have not been looked at yet."""

    def __init__(self, applier: Applier, view: View) -> None:
        self._applier = applier
        self._view = view
        self._open: dict[int, Intent] = {}
        self._took_over = False

    def take_over(self, intents: tuple[Intent, ...]) -> None:
        """Learn the open intents, the first time they can be read: later ones are our own."""
        if self._took_over:
            return
        self._took_over = True
        for intent in intents:
            self._open[intent.id] = intent
            self._applier.hold(intent, nodes_of(intent))

    def close(self, plan: Plan) -> bool:
        """Close each intent whose nodes have all answered; return whether there was any.

        Shapes: `plan` was computed from those answers; an action still in it is not done.
        """
        wanted = {step.action.id for step in plan.steps}
        found = False
        for intent in tuple(self._open.values()):
            nodes = nodes_of(intent)
            declared = [node for node in nodes if node in self._view.nodes]
            if not known_nodes(self._view, tuple(declared)):
                continue
            for node in nodes:
                if node not in declared:
                    self._view.mark_stale(node)
            del self._open[intent.id]
            self._applier.abandon(intent, _sentence(intent, declared, intent.action_id in wanted))
            found = True
        return found


def nodes_of(intent: Intent) -> tuple[str, ...]:
    """Return the nodes that the intent's action touched: of a move or a copy, both ends."""
    if intent.verb == FENCE:
        return ()
    tail = intent.action_id.rpartition(f"@{intent.node}/")[2]
    return (intent.node, tail) if intent.verb in TWO_ENDED and tail else (intent.node,)


def _sentence(intent: Intent, declared: list[str], wanted: bool) -> str:
    """Return what the look at the intent's nodes showed."""
    begun = f"the controller ended in the middle of {intent.verb}"
    if intent.verb == FENCE:
        return f"{begun}; the BMC of {intent.node} is read anew, and tells whether it has power"
    if not declared:
        return f"{begun}; {intent.node} is no longer declared, so its outcome is not known"
    seen = f"{' and '.join(declared)} {'was' if len(declared) == 1 else 'were'} looked at"
    if wanted:
        return f"{begun}; {seen}: it is not done; the next plan decides"
    return f"{begun}; {seen}: nothing is left of it to do"
