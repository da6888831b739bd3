"""What the loop noted in the store, as `status`, `get` and `explain` show it."""

from dataclasses import dataclass, field
from typing import Any, Final

from controller.errors import SourceUnavailable
from controller.model.condition import Condition, ConditionType, Status
from controller.model.facts import NodeFacts
from controller.model.units import render_duration
from controller.plan.survey.context import Approval, Suspension
from controller.reconcile.inspect.predictions import sentences_of
from controller.reconcile.loop import HEARTBEAT_S
from controller.reconcile.manager import Manager
from controller.reconcile.observe.last_seen import load_seen
from controller.reconcile.report.news import is_well
from controller.reconcile.report.status import render_condition

ALIVE_S: Final = 3 * HEARTBEAT_S
Line = tuple[str, str]


@dataclass(frozen=True, slots=True)
class LastFacts:
    """The last facts of a node, and when the node last confirmed them."""

    facts: NodeFacts
    at: float


@dataclass(frozen=True, slots=True)
class LoopStatus:
    """Everything that the store holds about the running loop."""

    now_s: float
    heartbeat: dict[str, Any] | None
    conditions: tuple[Condition, ...]
    suspensions: tuple[Suspension, ...]
    approvals: tuple[Approval, ...]
    seen: dict[str, LastFacts] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Return whether the last heartbeat of the loop is recent, and not its very last."""
        beat = self.heartbeat
        return (beat is not None and not beat.get("stopped")
                and self.now_s - beat["at"] < ALIVE_S)

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Return the steps of the loop's plan, as JSON."""
        plan = (self.heartbeat or {}).get("plan") or {}
        return list(plan.get("steps", []))

    @property
    def remarks(self) -> list[dict[str, Any]]:
        """Return the remarks of the loop's plan, as JSON."""
        plan = (self.heartbeat or {}).get("plan") or {}
        return list(plan.get("remarks", []))

    @property
    def where(self) -> str | None:
        """Return the source that the loop follows."""
        where: str | None = ((self.heartbeat or {}).get("source") or {}).get("where")
        return where

    def loop_line(self) -> Line:
        """Return whether the loop runs, as a line."""
        if self.heartbeat is None:
            return "no loop has run with this state folder: start `hotsite run`", "red"
        age = render_duration(self.now_s - self.heartbeat["at"])
        pid = self.heartbeat["pid"]
        if self.heartbeat.get("stopped"):
            return f"the loop was stopped {age} ago (pid {pid}): what follows is from then", "red"
        if not self.alive:
            return (f"the loop is not running: the last heartbeat of pid {pid} is {age} old, and so"
                    " is what follows", "red")
        running = render_duration(self.now_s - self.heartbeat["started_at"])
        return f"the loop runs (pid {pid}, for {running}), last heartbeat {age} ago", ""

    def source_lines(self) -> list[Line]:
        """Return which specs are in force, what lies over them, who conducts, and why the journal
        cannot be written."""
        beat = self.heartbeat or {}
        source, lines = beat.get("source") or {}, []
        if source:
            age = render_duration(self.now_s - source["at"])
            lines.append((f"specs: {source['sentence']} ({age} ago)",
                          "" if source["good"] else "red"))
        lines += [(f"break-glass: {one.message}", "red") for one in self.conditions
                  if one.type is ConditionType.BREAK_GLASS and one.status is Status.TRUE]
        if lease := beat.get("lease"):
            well = lease["mode"] in {"conducting", "standby"}
            lines.append((f"lease: {lease['sentence']}", "" if well else "red"))
        if beat.get("journal"):
            lines.append((f"journal: {beat['journal']}", "red"))
        return lines

    @property
    def failovers(self) -> list[dict[str, Any]]:
        """Return where each failover stands, as JSON."""
        plan = (self.heartbeat or {}).get("plan") or {}
        return list(plan.get("failovers", []))

    def prediction_lines(self, *, everything: bool) -> list[Line]:
        """Return what the loss of each site would come to, with `everything` also of each host,
        and how far that can be believed."""
        plan, lines = (self.heartbeat or {}).get("plan") or {}, list[Line]()
        rows = [*(plan.get("predictions") or []),
                *((plan.get("host_predictions") or []) if everything else [])]
        for row in rows:
            said, outcomes = sentences_of(row, self.now_s), {
                one["outcome"] for one in row.get("hindered") or []}
            style = "red" if "waits" in outcomes else "magenta" if "unknown" in outcomes else ""
            lines.append((said["sentence"], style))
            lines += [(f"  {said[more]}", "dim") for more in ("basis", "window_sentence")
                      if said[more]]
        return lines

    def failover_lines(self) -> list[Line]:
        """Return where each failover stands, and which VMs wait, as lines."""
        lines: list[Line] = []
        for one in self.failovers:
            unnamed = [name for name in one["waits_for"] if name not in one["sentence"]]
            waits = f"; waits for {', '.join(unnamed)}" if unnamed else ""
            lines.append((f"failover {one['scope']} {one['phase']}: {one['sentence']}{waits}",
                          "green" if one["phase"] == "protected-reversed" else "red"))
            lines += [(f"  {sentence}", "yellow") for sentence in one["waiting"]]
        return lines

    def work_lines(self) -> list[Line]:
        """Return the actions that run now, each with its progress if it reports any."""
        beat = self.heartbeat or {}
        far = beat.get("progress") or {}
        lines: list[Line] = []
        for action_id in beat.get("running", []) if self.alive else []:
            target = action_id.partition(":")[2].partition("@")[0]
            progress = f": {far[target]}" if target in far else ""
            lines.append((f"running: {action_id}{progress}", "cyan"))
        return lines

    def node_lines(self, *, everything: bool) -> list[Line]:
        """Return the nodes that do not answer; with `everything` also those that do."""
        lines: list[Line] = []
        for node, fact in sorted(((self.heartbeat or {}).get("nodes") or {}).items()):
            if fact["state"] != "known":
                last_at = fact.get("observed_at") or fact["since_at"]
                age = render_duration(self.now_s - min(fact["since_at"], last_at))
                lines.append((f"? {node}: {fact['sentence']} (for {age})", "magenta"))
            elif everything:
                age = render_duration(self.now_s - fact["observed_at"])
                lines.append((f"  {node} answers, {age} ago", ""))
        return lines

    def plan_lines(self) -> list[str]:
        """Return the summary of the last plan of the loop, and what is only observed."""
        plan = (self.heartbeat or {}).get("plan")
        if not plan:
            return ["plan: none yet"]
        observing = plan.get("observing")
        return [*([observing] if observing else []), f"plan: {plan['summary']}"]

    def shown_conditions(self, *, everything: bool) -> list[Condition]:
        """Return the conditions that are not as they should be; with `everything` all of them."""
        return [one for one in self.conditions if everything or not is_well(one)]

    def exit_status(self) -> int:
        """Return the exit status of `hotsite status`."""
        plan = (self.heartbeat or {}).get("plan")
        if not self.alive or plan is None:
            return 5
        verdicts = {step["ruling"]["verdict"] for step in self.steps}
        if verdicts:
            return 3 if verdicts <= {"refused"} else 2
        if any(remark["unknown"] for remark in self.remarks):
            return 5
        wrong = {Status.FALSE, Status.TRUE} & {one.status for one in self.conditions
                                               if not is_well(one)}
        return 1 if wrong else 0

    def as_json(self) -> dict[str, Any]:
        """Return the status as JSON."""
        return {"alive": self.alive, "loop": self.heartbeat,
                "conditions": [render_condition(one) for one in self.conditions],
                "suspensions": [{"target": one.target, "by": one.by, "why": one.why,
                                 "until_at": one.until_at} for one in self.suspensions]}


def read_status(manager: Manager) -> LoopStatus:
    """Return what the store holds about the loop.

    Errors: JournalUnavailable; SourceUnavailable if there is no state folder.
    """
    if not manager.state.exists():
        raise SourceUnavailable(f"there is no state folder {manager.state}: start `hotsite run`,"
                                " or name its folder with --state")
    store = manager.open_store()
    try:
        now_s = manager.clock()
        beat = store.status()
        looked = {node: fact.get("observed_at") for node, fact in
                  ((beat or {}).get("nodes") or {}).items()}
        seen = {node: LastFacts(known.value, max(known.observed_at, looked.get(node) or 0.0))
                for node, known in load_seen(store).items()
                if not looked or node in looked}
        return LoopStatus(now_s, beat, store.conditions(), store.suspensions(now_s),
                          store.approvals(now_s), seen)
    finally:
        store.close()
