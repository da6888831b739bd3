"""A review on the terminal, as JSON or as Markdown: what a change of the specs brings."""

from dataclasses import dataclass

import typer
from rich.text import Text

from controller.cli.shared import complain, print_json
from controller.cli.view.paint import Painter, console, counted
from controller.model.condition import Condition
from controller.model.desired import Desired
from controller.model.units import render_instant
from controller.plan.output.markdown import review_to_markdown
from controller.plan.output.review import Review, review_to_dict
from controller.plan.steps.plan import Plan
from controller.reconcile.manager import Manager
from controller.reconcile.report.exit_status import status_of_review
from controller.reconcile.review import Change
from controller.source.git.revisions import open_revisions


@dataclass(frozen=True, slots=True)
class Question:
    """Which revisions are compared, and on which facts."""

    path: str
    earlier: str
    later: str | None
    merge_base: bool
    assume: tuple[str, ...]
    live: bool


async def show_review(manager: Manager, question: Question, form: str) -> int:
    """Print what the later revision brings, and return the exit status."""
    change = await change_of(question)
    store, trouble = manager.look_into_store()
    if trouble is not None:
        complain(f"{trouble}; this review is made without pauses and approvals")
    try:
        found, at = await manager.review(store, change, live=question.live)
    finally:
        store.close()
    status = status_of_review(found).value
    facts = ("seen just now" if question.live
             else f"as last seen by the loop, {render_instant(at)}")
    if form == "json":
        print_json({**review_to_dict(found), "facts_at": at, "exit": status})
    elif form == "markdown":
        typer.echo(review_to_markdown(found, facts), nl=False)
    else:
        paint_review(Painter(console()), found, change.after, facts)
    return status


async def change_of(question: Question) -> Change:
    """Return the specs of the two revisions.

    Errors: SpecError, SourceUnavailable.
    """
    async with open_revisions(question.path) as revisions:
        later = await revisions.commit(question.later or revisions.head)
        earlier = await revisions.commit(question.earlier)
        if question.merge_base:
            earlier = await revisions.merge_base(earlier, later)
        return Change(await revisions.load(earlier), await revisions.load(later), question.assume)


def paint_review(painter: Painter, found: Review, desired: Desired, facts: str) -> None:
    """Write a review for a person."""
    painter.line(f"from {found.before.revision} to {found.after.revision}; {facts}", "bold")
    for sign, names in (("+", found.added), ("~", found.edited), ("-", found.removed)):
        for name in names:
            painter.line(f"  {sign} {name}")
    after = found.after
    painter.plan(Plan(after.revision, found.brought, found.remarks, takeovers=after.takeovers),
                 desired)
    if found.dropped:
        painter.line("would not come any more", "bold")
        for step in found.dropped:
            painter.line(f"  {step.action.verb} {step.action.target}: {step.action.reason}", "dim")
    for one in found.stranded:
        painter.line(f"{one.machine} would not come back any more if {one.lost} were lost:"
                     f" {'; '.join(one.reasons)}", "bold red")
    _conditions(painter, "gets worse", found.worse, "yellow")
    _conditions(painter, "gets better", found.better, "green")
    shown = counted(Plan(after.revision, found.brought, found.remarks))
    anyway = f" {found.anyway} more would come anyway." if found.anyway else ""
    painter.line(f"This brings: {shown or 'no change'}.{anyway} Nothing was done.", "bold")


def _conditions(painter: Painter, title: str, several: tuple[Condition, ...], style: str) -> None:
    if several:
        painter.line(title, "bold")
    for one in several:
        painter.sentence(Text(f"  {one.target} {one.type}: "), one.message, style)
