"""`hotsite status`: how the estate and the loop are, from what the loop wrote down."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.shared import Json, State, manager_of, print_json, told

if TYPE_CHECKING:
    from rich.text import Text

    from controller.cli.view.paint import Painter
    from controller.model.condition import Condition
    from controller.plan.survey.context import Suspension


def command(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Show what is well, too.")] = False,
    as_json: Json = False,
    state: State = None,
) -> None:
    """Show how the estate is: conditions, pauses, the specs in force, and whether the loop lives.

    It reads what the loop wrote down and contacts nothing. Without `--all` only what is not well
    is listed; pauses are always shown, until they end.

    Examples: `hotsite status`, `hotsite status --all`, `hotsite status --json`.

    Exit status: 0 converged, 1 something is not well, 2 changes pending, 3 all of them refused by a
    gate, 5 no loop runs here or too much is unknown.
    """
    from controller.cli.view.loop_status import read_picture  # noqa: PLC0415  # keeps --help quick

    with told(as_json=as_json):
        picture = read_picture(manager_of(context, state))
    code = picture.exit_status()
    if as_json:
        print_json(picture.as_json() | {"exit": code})
        raise typer.Exit(code)
    show(picture, everything=everything)
    raise typer.Exit(code)


def show(picture: Any, *, everything: bool) -> None:
    """Print the picture."""
    from controller.cli.view.paint import AMBER, Painter, console  # noqa: PLC0415

    painter = Painter(console())
    painter.line(*picture.loop_line())
    for sentence, style in picture.source_lines():
        painter.line(sentence, style)
    for one in picture.suspensions:
        painter.line(pause_line(one, picture.now_s), AMBER)
    for line in picture.work_lines():
        painter.line(*line)
    for line in picture.node_lines(everything=everything):
        painter.line(*line)
    show_conditions(painter, picture.shown_conditions(everything=everything), picture.now_s)
    painter.line(picture.plan_line(), "bold")


def pause_line(one: "Suspension", now_s: float) -> str:
    """Return a pause as one line: what, by whom, for how much longer, why."""
    from controller.model.units import render_duration  # noqa: PLC0415

    return (f"suspended {one.target} by {one.by}, {render_duration(one.until_at - now_s)} to go:"
            f" {one.why}")


def show_conditions(painter: "Painter", conditions: "list[Condition]", now_s: float) -> None:
    """Print conditions, each with how long it has been so."""
    from controller.cli.view.paint import COLOURS  # noqa: PLC0415
    from controller.model.units import render_duration  # noqa: PLC0415

    styles = {"true": "green", "false": "red", "unknown": COLOURS["?"]}
    for one in conditions:
        since = "" if one.since_at is None else f" for {render_duration(now_s - one.since_at)}"
        head = headline(f"{one.target} ", f"{one.type} {one.status}", styles[one.status])
        painter.sentence(head, f"{since} ({one.reason}): {one.message}")


def headline(plain: str, coloured: str, style: str) -> "Text":
    """Return a beginning of two parts, the second in colour."""
    from rich.text import Text  # noqa: PLC0415

    text = Text(plain)
    text.append(coloured, style)
    return text
