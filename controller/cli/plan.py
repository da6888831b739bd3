"""`hotsite plan`: shows what would change, and why; changes nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.shared import (
    Json,
    State,
    complain,
    errors_reported,
    manager_of,
    print_json,
    wait_for,
)

if TYPE_CHECKING:
    from controller.model.desired import Desired
    from controller.model.facts import Observed
    from controller.plan.steps.plan import Plan
    from controller.plan.survey.context import FailoverRequest
    from controller.reconcile.manager import Manager


class Form(StrEnum):
    """How a plan is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


class Facts(StrEnum):
    """What a review of two revisions rests on."""

    LIVE = "live"
    LAST = "last"


def command(
    context: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A folder of specs or a git URL.")],
    out: Annotated[Path | None, typer.Option(
        "--out", metavar="FILE", show_default=False, help="Save the plan for `apply`.")] = None,
    assume: Annotated[list[str] | None, typer.Option(
        "--assume", metavar="KIND=NAME:lost", show_default=False,
        help="What if: site=NAME:lost or host=NAME:lost; may be repeated.")] = None,
    earlier: Annotated[str | None, typer.Option(
        "--from", metavar="REV", show_default=False,
        help="Review what the specs bring that this revision of them does not.")] = None,
    later: Annotated[str | None, typer.Option(
        "--to", metavar="REV", show_default=False,
        help="The revision to review; HEAD, or the branch of the URL.")] = None,
    merge_base: Annotated[bool, typer.Option(
        "--merge-base", help="Begin where --to left --from, as a pull request does.")] = False,
    facts: Annotated[Facts, typer.Option(
        "--facts", help="For --from: look now, or take the loop's last look.")] = Facts.LIVE,
    form: Annotated[Form, typer.Option(
        "--format", help="How the plan is written; markdown is for a comment.")] = Form.TEXT,
    as_json: Json = False,
    state: State = None,
) -> None:
    """Show what would change to make the estate as the specs say, and why.

    Every host and switch is looked at; nothing is changed. Each line says whether the estate
    changed (drift) or the specs did (new commit), what the step means for users, and what holds it
    back. What could not be seen is shown as unknown and never counts as absent.

    With --from only what a change of the specs brings is shown, from one revision in git to
    another, both on the same facts. No host is asked that only the new revision names.

    Examples: `hotsite plan specs/`, `hotsite plan specs/ --out monday.plan`,
    `hotsite plan specs/ --assume site=paris:lost`, `hotsite plan specs/ --from main --format json`.

    Exit status: 0 nothing to change, 2 changes pending, 3 all of them refused by a gate or left to
    a person, 4 invalid spec, 5 too much is unknown to say. With --from what comes anyway does not
    count. With an assumed `:lost`: 0 all protected VMs come back, 3 some do not, 5 nobody can say.
    """
    from controller.errors import SpecError  # noqa: PLC0415  # keeps --help quick

    form = Form.JSON if as_json else form
    with errors_reported(as_json=form is Form.JSON), problems_as(form):
        if wrong := contradiction(out, assume, earlier, later, facts, merge_base=merge_base):
            raise SpecError((wrong,))
        manager = manager_of(context, state)
        if earlier is not None:
            from controller.cli.view.review import Question, show_review  # noqa: PLC0415

            question = Question(path, earlier, later, merge_base, tuple(assume or ()),
                                facts is Facts.LIVE)
            raise typer.Exit(wait_for(show_review(manager, question, form.value)))
        plan, desired, observed = wait_for(look(manager, path, assume or []))
        if out is not None:
            from controller.cli.view.plan_file import write_plan_file  # noqa: PLC0415

            write_plan_file(out, plan, observed, path)
        raise typer.Exit(show(plan, desired, path, out=out, form=form, assumed=assume or [],
                              now_s=manager.clock()))


@contextmanager
def problems_as(form: Form) -> Iterator[None]:
    """Print what is wrong with the specs as Markdown, too, where that is asked for."""
    from controller.errors import SpecError  # noqa: PLC0415  # keeps --help quick

    try:
        yield
    except SpecError as error:
        if form is Form.MARKDOWN:
            from controller.plan.output.markdown import problems_to_markdown  # noqa: PLC0415

            typer.echo(problems_to_markdown(error.problems), nl=False)
        raise


def contradiction(out: Path | None, assume: list[str] | None, earlier: str | None,
                  later: str | None, facts: Facts, *, merge_base: bool) -> str:
    """Return why these options do not go together; empty where they do."""
    if out is not None and assume:
        return ("--out and --assume exclude each other: a what-if plan cannot be applied, so it is"
                " not saved. Leave one of them out")
    if out is not None and earlier is not None:
        return ("--out and --from exclude each other: a review is not applied. Leave one of them"
                " out")
    if earlier is None and (later is not None or merge_base or facts is Facts.LAST):
        return "--to, --merge-base and --facts are about a review: name where it begins with --from"
    return ""


async def look(manager: "Manager", path: str,
               assume: list[str], order: "FailoverRequest | None" = None
               ) -> "tuple[Plan, Desired, Observed]":
    """Return the plan for the specs at `path`, with those specs and the facts it was made from.

    Shapes: `order` is taken as given, and not given.
    """
    desired = await manager.load(path)
    store, trouble = manager.look_into_store()
    if trouble is not None:
        complain(f"{trouble}; this plan is made without pauses and approvals")
    try:
        async with manager.once(desired, store, assume) as once:
            if order is not None:
                once.suppose(order)
            plan = await once.plan(desired)
            return plan, desired, once.observed
    finally:
        store.close()


def status_of_loss(plan: "Plan") -> int:
    """Return the exit status of a what-if: whether all protected VMs come back."""
    from controller.plan.steps.takeover import Outcome  # noqa: PLC0415

    outcomes = {one.outcome for lost in plan.assumed for one in lost.hindered}
    return 5 if Outcome.UNKNOWN in outcomes else 3 if Outcome.WAITS in outcomes else 0


def show(plan: "Plan", desired: "Desired", path: str, *, out: Path | None, form: Form,
         assumed: list[str], now_s: float) -> int:
    """Print the plan and return the exit status: of a loss, whether all come back."""
    from controller.cli.view.paint import Painter, console, counted, no_change  # noqa: PLC0415
    from controller.plan.output.render import plan_to_dict  # noqa: PLC0415
    from controller.reconcile.report.exit_status import status_of_plan  # noqa: PLC0415

    lost = any(one.endswith(":lost") for one in assumed)
    status = status_of_loss(plan) if lost else status_of_plan(plan).value
    if form is Form.JSON:
        print_json(plan_to_dict(plan) | {"exit": status})
        return status
    if form is Form.MARKDOWN:
        from controller.plan.output.markdown import plan_to_markdown  # noqa: PLC0415

        typer.echo(plan_to_markdown(plan), nl=False)
        return status
    painter = Painter(console())
    painter.plan(plan, desired)
    painter.predictions(plan.assumed, now_s)
    if assumed:
        painter.line(f"{counted(plan) or 'No change'}. This is a what-if: nothing was done, and"
                     " nothing was lost.", "bold")
        return status
    if not plan.steps:
        sentence, style = no_change(plan)
        painter.line(f"No change: {sentence}.", style)
        return status
    painter.line(f"{counted(plan)}. Nothing was done. Run `hotsite apply {out or path}` to do it.",
                 "bold")
    return status
