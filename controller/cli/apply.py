"""`hotsite apply`: carries out the plan once, waits for it, and says what is left."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.shared import (
    IN_THE_MIDDLE,
    By,
    Json,
    State,
    complain,
    duration_s,
    errors_reported,
    manager_of,
    print_json,
    wait_for,
    who,
)

if TYPE_CHECKING:
    from controller.model.desired import Desired
    from controller.plan.output.saved import SavedPlan
    from controller.plan.steps.plan import Plan
    from controller.reconcile.manager import Manager
    from controller.reconcile.once import Once, Result

GLASS = "4h"
REFUSED = 3
PENDING = 2
ROUNDS = 9
"""At most so many rounds of steps that came up meanwhile; a step that keeps coming up is left."""


def command(
    context: typer.Context,
    path: Annotated[str, typer.Argument(
        metavar="PATH|PLANFILE", help="A folder of specs, a git URL, or a plan saved by `plan`.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    break_glass: Annotated[str | None, typer.Option(
        "--break-glass", metavar="WHY", show_default=False, help="Put the folder in force over the"
        " loop's branch, while git is down.")] = None,
    until: Annotated[str | None, typer.Option(
        "--until", metavar="TIME", show_default=False,
        help="How long a break-glass lasts: 4h, at most 3d.")] = None,
    by: By = None,
    as_json: Json = False,
    state: State = None,
) -> None:
    """Make the estate as the specs say, once, and wait until that is done.

    It shows the plan and asks first. Your yes lets this run go beyond the estate's autonomy, up to
    failover; every other gate holds. Only what was shown is done, and each step is decided again on
    fresh facts just before it begins. Steps that come up meanwhile are shown and asked for, too;
    with --yes they are done unless they would take something away. A saved plan is refused when the
    specs or the facts have changed since.

    With --break-glass the running loop does it: what the folder changes of the commit in force lies
    over the branch until its time is over, you end it, or a commit declares the same objects. Git
    is not asked. For what it changes no window and no second person is waited for; the laws hold,
    nothing is deleted, and everybody who is told what is wrong is told of it.

    Examples: `hotsite apply specs/`, `hotsite apply specs/ --yes`, `hotsite apply monday.plan`,
    `hotsite apply copy/ --break-glass "the forge is down, sql needs memory" --until 2h`.

    Exit status: 0 converged, 1 a step failed, 2 changes are left, 3 refused by a gate or a stale
    plan or left to a person, 4 invalid spec, 5 too much is unknown to say.
    """
    with errors_reported(as_json=as_json):
        if as_json and not yes:
            complain("apply --json asks nothing: pass --yes with it")
            raise typer.Exit(REFUSED)
        if break_glass is not None:
            from controller.cli.break_glass.begin import begin  # noqa: PLC0415  # quick --help

            span_s = duration_s(until or GLASS)
            raise typer.Exit(wait_for(begin(manager_of(context, state), path, break_glass, span_s,
                                            who(by), yes=yes, as_json=as_json)))
        if until is not None:
            raise typer.BadParameter("--until is about --break-glass: name its reason, too")
        code = wait_for(apply(manager_of(context, state), path, yes=yes, as_json=as_json),
                        interrupted=IN_THE_MIDDLE)
        raise typer.Exit(code)


async def apply(manager: "Manager", path: str, *, yes: bool, as_json: bool) -> int:
    """Plan, ask, do, and return the exit status."""
    from controller.cli.view.plan_file import is_plan_file, read_plan_file  # noqa: PLC0415

    saved: SavedPlan | None = None
    if is_plan_file(path):
        saved, path = read_plan_file(path)
    desired = await manager.load(path)
    store = manager.open_store(exclusive=True)
    try:
        if store.damaged is not None:
            complain(store.damaged)
        async with manager.once(desired, store) as once:
            plan = await once.plan(desired)
            code = await before(once, plan, desired, saved, yes=yes, as_json=as_json)
            if code is not None:
                return code
            if not as_json:
                once.listeners.append(tell_progress)
            if saved is not None:
                result = await once.run(granted_by=who(None), shown=saved.plan, answered=True)
            else:
                result = await in_rounds(once, plan, desired, yes=yes, as_json=as_json)
            return report(result, desired, as_json=as_json)
    finally:
        store.close()


async def in_rounds(once: "Once", plan: "Plan", desired: "Desired", *, yes: bool,
                    as_json: bool) -> "Result":
    """Do what was shown, then show and do what came up meanwhile, while each round gets on."""
    from controller.cli.view.paint import Painter, console  # noqa: PLC0415
    from controller.reconcile.once import came_up  # noqa: PLC0415

    whole = result = await once.run(granted_by=who(None), shown=plan, answered=True)
    for _ in range(ROUNDS):
        if not result.done or not came_up(result, plan):
            break
        plan = result.plan
        if not as_json:
            painter = Painter(console())
            painter.line("Meanwhile this has come up:", "bold")
            painter.plan(plan, desired)
            if not yes and ask(plan) is not None:
                break
        result = await once.run(granted_by=who(None), shown=plan, answered=not yes)
        whole.take_in(result)
    return whole


async def before(once: "Once", plan: "Plan", desired: "Desired", saved: "SavedPlan | None", *,
                 yes: bool, as_json: bool) -> int | None:
    """Show the plan and ask; return an exit status if nothing is to be done."""
    from controller.cli.view.paint import Painter, console, no_change  # noqa: PLC0415
    from controller.reconcile.report.exit_status import status_of_plan  # noqa: PLC0415

    stale = once.stale(saved) if saved else None
    if stale is not None:
        complain(stale)
        return REFUSED
    if as_json:
        return None
    painter = Painter(console())
    painter.plan(plan, desired)
    if not plan.steps:
        if status_of_plan(plan) == 0:
            painter.line(f"No change: {no_change(plan)[0]}.", "green")
        return None
    return None if yes else ask(plan)


def ask(plan: "Plan") -> int | None:
    """Ask whether to go on; return an exit status if the answer is no."""
    from controller.cli.view.paint import counted  # noqa: PLC0415

    if not can_answer():
        complain("apply asks before it acts, and nobody can answer here: pass --yes")
        return REFUSED
    answer = typer.prompt(f"{counted(plan)}. Do it? Only yes is a yes", default="no",
                          show_default=False)
    if answer.strip().lower() != "yes":
        complain("Nothing was done.")
        return PENDING
    return None


def can_answer() -> bool:
    """Return whether standard input is a terminal, where a person can answer."""
    return sys.stdin.isatty()


def tell_progress(event: object) -> None:
    """Print one line for each step that begins or ends."""
    from controller.cli.view.log import describe_progress  # noqa: PLC0415

    line = describe_progress(event)
    if line is not None:
        typer.echo(line)


def report(result: "Result", desired: "Desired", *, as_json: bool) -> int:
    """Print what was done and what is left, and return the exit status."""
    from controller.cli.view.paint import Painter, console, counted, no_change  # noqa: PLC0415
    from controller.plan.output.render import plan_to_dict  # noqa: PLC0415
    from controller.reconcile.report.exit_status import status_of_run  # noqa: PLC0415

    status = status_of_run(result.plan, failed=bool(result.failed))
    if as_json:
        print_json({
            "done": [{"id": action.id, "sentence": text} for action, text in result.done],
            "failed": [{"id": name, "sentence": text}
                       for name, (_, text) in sorted(result.failed.items())],
            "left": plan_to_dict(result.plan), "exit": status.value})
        return status.value
    painter = Painter(console())
    count = len(result.done)
    done = f"{count} step{'s' * (count != 1)} done"
    if not result.plan.steps and not result.failed:
        sentence, style = no_change(result.plan)
        painter.line(f"{done}. {sentence[0].upper()}{sentence[1:]}.", style)
        return status.value
    painter.line("What is left:", "bold")
    painter.plan(result.plan, desired)
    for name, (_, sentence) in sorted(result.failed.items()):
        painter.line(f"failed: {name}: {sentence}", "red")
    painter.line(f"{done}, {len(result.failed)} failed; {counted(result.plan)} left.", "bold")
    return status.value
