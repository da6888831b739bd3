"""Two controllers of one estate: both ask for a lease, and hosts refuse the lower term."""

from collections.abc import Callable

from controller.errors import Refused
from controller.model.desired import Desired
from controller.plan.actions.action import Action
from controller.plan.actions.fencing import FenceHost
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.world import World
from controller.providers.termed import NoTerms, Terms
from controller.reconcile.lease import Candidate
from controller.store.lease import Term
from tests.reconcile.candidates import Client, Place, time_s


class Hands(SimulatedEstate):
    """The hands of one controller: whatever they do on a node carries its term."""

    def __init__(self, desired: Desired, noted: dict[str, Term], clock: Callable[[], float],
                 world: World | None = None) -> None:
        super().__init__(desired, converged=world is None, clock=clock, world=world)
        self.noted = noted
        """By node: the highest term that it was told."""
        self.terms: Terms = NoTerms()

    async def apply(self, action: Action) -> str:
        """Make one change, unless its node knows a higher term."""
        term = self.terms.current()
        if term is not None and not isinstance(action, FenceHost):
            by = self._compare(action.node, term)
            if by is not None:
                self.terms.overtaken(action.node, by)
                raise Refused(f"{action.node} does nothing for this controller any more:"
                              f" {by.holder} conducts in term {by.number}, and this one had term"
                              f" {term.number}")
        return await super().apply(action)

    def _compare(self, node: str, term: Term) -> Term | None:
        """Have a node that answers note a term; return the one by which it refuses it."""
        if not self.world.reachable(node):
            return None
        noted = self.noted.setdefault(node, term)
        if noted.number < term.number:
            self.noted[node] = noted = term
        return None if noted == term else noted

    async def announce(self, nodes: tuple[str, ...], term: Term, limit_s: float) -> Term | None:
        """Tell nodes a new term; return the highest by which any of them refused it."""
        return max((by for node in nodes if (by := self._compare(node, term)) is not None),
                   default=None)


def contender(name: str, place: Place, hands: Hands, *, standby: bool = False,
              machine_uuid: str = "") -> Candidate:
    """Return a controller that asks for the lease wherever one is declared."""
    made = Candidate(name, time_s, lambda desired: Client(place, name) if (
        desired.estate.spec.failover.lease) else None, hands.announce, standby=standby,
        machine_uuid=machine_uuid)
    hands.terms = made
    return made
