"""`hotsite plan`: shows what would change, and why; changes nothing."""

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


def command(
    context: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A folder of specs or a git URL.")],
    out: Annotated[Path | None, typer.Option(
        "--out", metavar="FILE", show_default=False, help="Save the plan for `apply`.")] = None,
    assume: Annotated[list[str] | None, typer.Option(
        "--assume", metavar="KIND=NAME:down", show_default=False,
        help="What if: site=NAME:down or host=NAME:down; may be repeated.")] = None,
    as_json: Json = False,
    state: State = None,
) -> None:
    """Show what would change to make the estate as the specs say, and why.

    Every host and switch is looked at; nothing is changed. Each line says whether the estate
    changed (drift) or the specs did (new commit), what the step means for users, and what holds it
    back. What could not be seen is shown as unknown and never counts as absent.

    Examples: `hotsite plan specs/`, `hotsite plan specs/ --out monday.plan`,
    `hotsite plan specs/ --assume site=paris:down`.

    Exit status: 0 nothing to change, 2 changes pending, 3 all of them refused by a gate or left to
    a person, 4 invalid spec, 5 too much is unknown to say.
    """
    from controller.errors import SpecError  # noqa: PLC0415  # keeps --help quick

    with errors_reported(as_json=as_json):
        if out is not None and assume:
            raise SpecError(("--out and --assume exclude each other: a what-if plan cannot be"
                             " applied, so it is not saved. Leave one of them out",))
        plan, desired, observed = wait_for(look(manager_of(context, state), path, assume or []))
        if out is not None:
            from controller.cli.view.plan_file import write_plan_file  # noqa: PLC0415

            write_plan_file(out, plan, observed, path)
        raise typer.Exit(show(plan, desired, path, out=out, as_json=as_json, what_if=bool(assume)))


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


def show(plan: "Plan", desired: "Desired", path: str, *, out: Path | None, as_json: bool,
         what_if: bool) -> int:
    """Print the plan and return the exit status."""
    from controller.cli.view.paint import Painter, console, counted, no_change  # noqa: PLC0415
    from controller.plan.output.render import plan_to_dict  # noqa: PLC0415
    from controller.reconcile.report.exit_status import status_of_plan  # noqa: PLC0415

    status = status_of_plan(plan)
    if as_json:
        print_json(plan_to_dict(plan) | {"exit": status.value})
        return status.value
    painter = Painter(console())
    painter.plan(plan, desired)
    if what_if:
        painter.line(f"{counted(plan) or 'No change'}. This is a what-if: nothing was done, and"
                     " nothing was lost.", "bold")
        return status.value
    if not plan.steps:
        sentence, style = no_change(plan)
        painter.line(f"No change: {sentence}.", style)
        return status.value
    painter.line(f"{counted(plan)}. Nothing was done. Run `hotsite apply {out or path}` to do it.",
                 "bold")
    return status.value
