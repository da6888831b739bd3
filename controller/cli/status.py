"""`hotsite status`: the state of the estate and of the loop, as the loop noted it."""

from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.shared import Json, State, errors_reported, manager_of, print_json

if TYPE_CHECKING:
    from controller.cli.view.paint import Painter
    from controller.model.condition import Condition
    from controller.reconcile.inspect.loop_status import LoopStatus


def command(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Show the rest, too.")] = False,
    as_json: Json = False,
    state: State = None,
) -> None:
    """Show the state of the estate: conditions, pauses, the specs in force, whether the loop runs.

    It reads what the loop noted and contacts nothing. Without `--all` only problems are listed;
    pauses are always shown, until they end, and so is what the loss of each site would come to now.
    `--all` says that of each host, too.

    Examples: `hotsite status`, `hotsite status --all`, `hotsite status --json`.

    Exit status: 0 converged, 1 a condition is not as it should be, 2 changes pending, 3 all of them
    refused by a gate, 5 no loop runs here or too much is unknown.
    """
    from controller.reconcile.inspect.loop_status import read_status  # noqa: PLC0415  # slow

    with errors_reported(as_json=as_json):
        loop_status = read_status(manager_of(context, state))
    code = loop_status.exit_status()
    if as_json:
        print_json(loop_status.as_json() | {"exit": code})
        raise typer.Exit(code)
    show(loop_status, everything=everything)
    raise typer.Exit(code)


def show(loop_status: "LoopStatus", *, everything: bool) -> None:
    """Print the status."""
    from controller.cli.view.paint import AMBER, Painter, console  # noqa: PLC0415
    from controller.model.units import render_duration  # noqa: PLC0415

    painter = Painter(console())
    painter.line(*loop_status.loop_line())
    for sentence, style in loop_status.source_lines():
        painter.line(sentence, style)
    for one in loop_status.suspensions:
        left = render_duration(one.until_at - loop_status.now_s)
        painter.line(f"suspended {one.target} by {one.by}, {left} to go: {one.why}", AMBER)
    for line in (*loop_status.failover_lines(), *loop_status.work_lines()):
        painter.line(*line)
    for line in loop_status.node_lines(everything=everything):
        painter.line(*line)
    for line in loop_status.prediction_lines(everything=everything):
        painter.line(*line)
    show_conditions(painter, loop_status.shown_conditions(everything=everything), loop_status.now_s)
    for sentence in loop_status.plan_lines():
        painter.line(sentence, "bold")


def show_conditions(painter: "Painter", conditions: "list[Condition]", now_s: float) -> None:
    """Print each condition with the time since its last change."""
    from rich.text import Text  # noqa: PLC0415

    from controller.cli.view.paint import COLOURS  # noqa: PLC0415
    from controller.model.units import render_duration  # noqa: PLC0415

    styles = {"true": "green", "false": "red", "unknown": COLOURS["?"]}
    for one in conditions:
        since = "" if one.since_at is None else f" for {render_duration(now_s - one.since_at)}"
        head = Text(f"{one.target} ")
        head.append(f"{one.type} {one.status}", styles[one.status])
        painter.sentence(head, f"{since} ({one.reason}): {one.message}")
