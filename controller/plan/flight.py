"""In flight: how many things may be going on at once, per host, per site and in the estate."""

from controller.model.document import Rung
from controller.plan.actions import Action
from controller.plan.draft import counted
from controller.plan.plan import Ruling, Verdict
from controller.plan.survey import Survey

DISRUPTIVE = frozenset({Rung.MIGRATE, Rung.RESTART, Rung.FAILOVER})


class Slots:
    """The places that are taken; all actions on one target share one, as they run in turn."""

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self.limits = survey.desired.estate.spec.limits
        self.at: dict[str, set[str]] = {}
        self.disrupted: set[str] = set()
        self.busy: dict[str, str] = {}
        self.most = max(1, int(self.limits.share * len(survey.desired.virtual_machines)))
        for flight in survey.policy.in_flight:
            self.busy[flight.target] = flight.action_id
            self._note(flight.target, flight.nodes, flight.rung)

    def take(self, action: Action) -> Ruling | None:
        """Take a place for `action`; return why it has to wait when there is none."""
        if action.target in self.busy:
            return _wait(f"{self.busy[action.target]} is running", "when that ends")
        for node in action.nodes:
            for place, limit in ((f"host {node}", self.limits.per_host),
                                 (f"site {self.survey.site_of(node)}", self.limits.per_site)):
                taken = self.at.get(place, set())
                if action.target not in taken and len(taken) >= limit:
                    return _wait(f"{counted(len(taken), 'thing')} going on at {place}, and"
                                 f" {limit} is the limit", "when one of them ends")
        if (action.rung in DISRUPTIVE and action.target not in self.disrupted
                and len(self.disrupted) >= self.most):
            return _wait(
                f"{counted(len(self.disrupted), 'VM')} moving or restarting, and {self.most} of"
                f" {len(self.survey.desired.virtual_machines)} is the limit"
                f" ({self.limits.share:.0%})", "when one of them ends")
        self._note(action.target, action.nodes, action.rung)
        return None

    def _note(self, target: str, nodes: tuple[str, ...], rung: Rung) -> None:
        for node in nodes:
            self.at.setdefault(f"host {node}", set()).add(target)
            if node in self.survey.desired.hosts or node in self.survey.desired.switches:
                site = f"site {self.survey.site_of(node)}"
                self.at.setdefault(site, set()).add(target)
        if rung in DISRUPTIVE:
            self.disrupted.add(target)


def _wait(sentence: str, clears: str) -> Ruling:
    return Ruling(Verdict.WAITING, "in-flight", sentence, clears)
