"""Plans and reviews as Markdown, for a comment on a pull request.

Names, reasons and words of hosts come from anywhere: a stranger's pull request, too. So all of it
stands in fenced blocks, where no forge makes links, images, markup or mentions of it; a fence is
longer than any row of backticks inside. Outside of them are only our own words and numbers. Lines
that begin with + - ! are coloured, because the blocks say that they are a diff.

Rule 1: the text is shorter than any forge's limit for a comment; what was left out is counted.
Rule 2: no character in it moves a cursor or reverses the text.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from controller.plan.output.review import Review
from controller.plan.output.runbook import render_runbook
from controller.plan.steps.draft import counted
from controller.plan.steps.plan import Plan, Remark, Step, Verdict

TEXT_MAX: Final = 60_000
"""GitHub takes 65,536 characters, the others more."""
LINE_MAX: Final = 500
SIGNS: Final = {"+": "+", "-": "-", "!": "!", "^": "+"}
HELD: Final = {Verdict.NEEDS_APPROVAL: "needs a person's yes", Verdict.REFUSED: "refused",
               Verdict.WAITING: "waits"}
Section = tuple[str, Sequence[str]]


def plan_to_markdown(plan: Plan) -> str:
    """Return a plan as Markdown."""
    unknown = sum(one.unknown for one in plan.remarks)
    title = f"hotsite: {counted(len(plan.steps), 'change')}"
    if unknown:
        title += f", {unknown} unknown"
    return _page(title, [
        ("What would be done", _steps(plan.steps)),
        *((f"If this were lost: {number}", render_runbook(one))
          for number, one in enumerate(plan.takeovers, 1)),
        ("What could not be seen, or is left to a person", _remarks(plan.remarks))])


def review_to_markdown(found: Review, facts: str) -> str:
    """Return a review as Markdown; `facts` says in words what it rests on."""
    words = [f"brings {counted(len(found.brought), 'change')}"]
    if found.dropped:
        words.append(f"makes {counted(len(found.dropped), 'change')} needless")
    if found.worse:
        words.append(f"makes {counted(len(found.worse), 'thing')} worse")
    if found.stranded:
        words.append(f"strands {counted(len(found.stranded), 'VM')}")
    return _page(f"hotsite: this {', '.join(words)}", [
        ("What is reviewed", [
            f"from {found.before.revision} to {found.after.revision}; {facts}",
            *(f"+ {name}" for name in found.added), *(f"~ {name}" for name in found.edited),
            *(f"- {name}" for name in found.removed)]),
        ("What it would do", _steps(found.brought)),
        ("What would not come any more", _steps(found.dropped)),
        ("Who would not come back any more", [
            f"! {one.machine}, if {one.lost} were lost: {'; '.join(one.reasons)}"
            for one in found.stranded]),
        ("What gets worse", [f"- {one.target} {one.type}: {one.message}"
                             for one in found.worse]),
        ("What gets better", [f"+ {one.target} {one.type}: {one.message}"
                              for one in found.better]),
        ("What could not be seen, or is left to a person", _remarks(found.remarks)),
        ("What comes with it and without it",
         [counted(found.anyway, "change")] if found.anyway else [])])


def problems_to_markdown(problems: Sequence[str]) -> str:
    """Return what is wrong with specs as Markdown."""
    return _page(f"hotsite: these specs are invalid: {counted(len(problems), 'problem')}",
                 [("What is wrong", [f"- {problem}" for problem in problems])])


def _steps(steps: Iterable[Step]) -> list[str]:
    lines = []
    for step in steps:
        action, ruling = step.action, step.ruling
        sign = SIGNS.get(action.symbol.value, " ")
        name = " ".join(word for word in (action.verb, action.target, action.detail) if word)
        lines.append(f"{sign} {name}: {action.reason} ({action.cause})")
        if action.consequence:
            lines.append(f"    {action.consequence}")
        if ruling.verdict in HELD:
            lines.append(f"    {HELD[ruling.verdict]}: {ruling.sentence}")
    return lines


def _remarks(remarks: Iterable[Remark]) -> list[str]:
    ordered = sorted(remarks, key=lambda one: not one.unknown)
    return [f"{'?' if one.unknown else ' '} {one.target}: {one.sentence}" for one in ordered]


def _page(title: str, sections: Iterable[Section]) -> str:
    """Return the page, cut where it gets too long."""
    room, blocks, left = TEXT_MAX - len(title), [f"### {title}"], 0
    for heading, lines in sections:
        shown: list[str] = []
        for line in map(_line, lines):
            if left or len(line) + 1 > room:
                left += 1
                continue
            room -= len(line) + 1
            shown.append(line)
        if shown:
            # more backticks than stand in a row anywhere in the lines
            longest = max((len(row) for line in shown for row in re.findall("`+", line)), default=0)
            fence = "`" * max(3, longest + 1)
            blocks += [f"**{heading}**", "\n".join((f"{fence}diff", *shown, fence))]
            room -= len(heading) + 2 * len(fence) + 20
    if left:
        blocks.append(f"{counted(left, 'line')} left out: see the job's own output.")
    return "\n\n".join(blocks) + "\n"


def _line(text: str) -> str:
    """Return text as one line in which no character controls anything."""
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return plain if len(plain) <= LINE_MAX else plain[:LINE_MAX - 1] + "…"
