"""Plans and tables for people: coloured on a terminal, plain and one line each in a pipe."""

import textwrap
from collections.abc import Iterable
from typing import Final

from rich.console import Console
from rich.text import Text

from controller.cli.view.terminal import fit
from controller.model.desired import Desired
from controller.plan.output.runbook import render_runbook
from controller.plan.prediction.sentence import render_basis, render_prediction, render_window
from controller.plan.steps.plan import Plan, Remark, Step, Verdict
from controller.plan.steps.prediction import Prediction

COLOURS: Final = {"+": "green", "~": "yellow", ">": "cyan", "-": "red", "!": "bold red",
                  "^": "bold green", "*": "blue", "?": "magenta"}
AMBER: Final = "dark_orange"
WORDS: Final = {Verdict.NEEDS_APPROVAL: "needs approval", Verdict.REFUSED: "refused",
                Verdict.WAITING: "waits"}
INDENT: Final = "      "


def console(*, stderr: bool = False) -> Console:
    """Return a console that takes text literally: no markup, no coloured numbers."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


class Painter:
    """Writes lines to a console; on a terminal the rest of a long sentence is indented."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen

    def line(self, text: Text | str = "", style: str = "") -> None:
        """Write one line as it is."""
        if isinstance(text, str):
            self._screen.print(Text(fit(text), style))
            return
        if fit(text.plain) != text.plain:
            text = text.copy()
            text.plain = fit(text.plain)    # as long as before, so that the colours stay in place
        self._screen.print(text)

    def sentence(self, head: Text, sentence: str, style: str = "", indent: str = INDENT) -> None:
        """Write `head` and a sentence after it."""
        whole = f"{head.plain}{sentence}"
        if not self._screen.is_terminal:
            self.line(whole)
            return
        width = max(40, self._screen.width)
        first, *rest = textwrap.wrap(whole, width, subsequent_indent=indent,
                                     break_long_words=False, break_on_hyphens=False,
                                     drop_whitespace=False) or [whole]
        text = head.copy()
        text.append(first.rstrip()[len(head.plain):], style)
        self.line(text)
        for more in rest:
            self.line(more.rstrip().replace(indent + " ", indent, 1), style)

    def plan(self, plan: Plan, desired: Desired) -> None:
        """Write a plan by site and node: each step, its reason, its consequence, its gate.

        What is only observed comes first.
        """
        if plan.observing:
            self.line(f"{plan.observing[0].upper()}{plan.observing[1:]}.", "bold")
        nodes: dict[str, list[Step]] = {}
        for step in plan.steps:
            nodes.setdefault(step.action.node, []).append(step)
        for site, members in by_site(nodes, desired).items():
            self.line(site, "bold")
            for node in members:
                self.line(f"  {node}", "bold")
                for step in nodes[node]:
                    self._step(step)
        for takeover in plan.takeovers:
            for number, line in enumerate(render_runbook(takeover)):
                self.line(line, "" if number else "bold")
        self._remarks(plan.remarks)

    def predictions(self, several: Iterable[Prediction], now_s: float) -> None:
        """Write what losses would come to: a line each, and one that says how that is known."""
        for one in several:
            said = render_prediction(one, now_s)
            self.line(f"{said[0].upper()}{said[1:]}.", "bold")
            for more in (render_basis(one, now_s), render_window(one)):
                if more:
                    self.line(f"  {more}", "dim")

    def _step(self, step: Step) -> None:
        action, ruling = step.action, step.ruling
        allowed = ruling.verdict is Verdict.ALLOWED or ruling.rule == "in-flight"
        head = Text("    ")
        head.append(f"{action.symbol} ", COLOURS.get(action.symbol, ""))
        head.append(name_of(step).ljust(24) + " ", "" if allowed else "dim")
        self.sentence(head, f"{action.reason} ({action.cause})", "" if allowed else "dim")
        if action.consequence:
            self.sentence(Text(INDENT), action.consequence, "dim")
        if not allowed:
            clears = f"; {ruling.clears}" if ruling.clears else ""
            rule = f" ({ruling.rule})" if ruling.rule else ""
            self.sentence(Text(INDENT), f"{WORDS[ruling.verdict]}{rule}: {ruling.sentence}"
                          f"{clears}", AMBER)
        if ruling.verdict is Verdict.NEEDS_APPROVAL:
            self.sentence(Text(INDENT), f"action {action.id}", "dim")

    def _remarks(self, remarks: Iterable[Remark]) -> None:
        """Write the remarks: what is unknown first."""
        for title, unknown in (("unknown", True), ("remarks", False)):
            chosen = [remark for remark in remarks if remark.unknown is unknown]
            if chosen:
                self.line(title, "bold")
            for remark in chosen:
                head = Text("  ")
                head.append("? " if unknown else "· ", COLOURS["?"] if unknown else "dim")
                head.append(f"{remark.target}: ")
                self.sentence(head, remark.sentence)


def name_of(step: Step) -> str:
    """Return what a step does to what: `start sql`, `widen-trunk up0`, `migrate web to paris-2`."""
    action = step.action
    kind, _, name = action.target.partition("/")
    if kind != "VirtualMachine":
        return f"{action.verb} {action.detail}".rstrip()
    joiner = " to " if action.verb == "migrate" else " "
    return f"{action.verb} {name}{joiner + action.detail if action.detail else ''}"


def by_site(nodes: Iterable[str], desired: Desired) -> dict[str, list[str]]:
    """Return `nodes` by their site, both sorted; a node of no site stands under `elsewhere`."""
    found: dict[str, list[str]] = {}
    for node in sorted(nodes):
        owner = desired.hosts.get(node) or desired.switches.get(node)
        witness = desired.witnesses.get(node)
        place = owner.spec.site if owner else witness.spec.place if witness else "elsewhere"
        found.setdefault(place, []).append(node)
    return dict(sorted(found.items()))


def counted(plan: Plan) -> str:
    """Return the size of a plan in words: `3 changes, 1 refused, 1 unknown`."""
    held = [step.ruling.verdict for step in plan.steps]
    counts = [(sum(one in {Verdict.ALLOWED, Verdict.WAITING} for one in held), "change"),
              (held.count(Verdict.NEEDS_APPROVAL), "needs approval"),
              (held.count(Verdict.REFUSED), "refused"),
              (sum(remark.unknown for remark in plan.remarks), "unknown")]
    words = [f"{count} {word}{'s' if word == 'change' and count != 1 else ''}"
             for count, word in counts if count]
    return ", ".join(words)


def no_change(plan: Plan) -> tuple[str, str]:
    """Return the state of an estate for which no step is planned, and the colour of that line."""
    waits, unknown = len(plan.waits), sum(remark.unknown for remark in plan.remarks)
    as_declared = f"as revision {plan.revision} says"
    if plan.observing:
        as_declared += ", or only observed"
    if waits:
        return (f"{counted_things(waits)} {'waits' if waits == 1 else 'wait'} for a person, see"
                f" above; all else that can be seen is {as_declared}"), "yellow"
    if unknown:
        return (f"{counted_things(unknown)} could not be seen, see above; all else is"
                f" {as_declared}"), "magenta"
    return f"the estate is {as_declared}", "green"


def counted_things(count: int) -> str:
    """Return `1 thing` or `3 things`."""
    return f"{count} thing{'s' * (count != 1)}"


def table(painter: Painter, rows: list[tuple[str, ...]], styles: tuple[str, ...] = ()) -> None:
    """Write rows in columns, the first row as a heading; the last column is never padded."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        style = "bold" if number == 0 else (styles[number - 1] if styles else "")
        painter.line("  ".join(cells).rstrip(), style)
