"""`hotsite doctor`: what is wrong on hosts and between them, and the command that mends it."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from controller.cli.shared import Json, errors_reported, manager_of, print_json, wait_for

if TYPE_CHECKING:
    from controller.adoption.doctor.finding import Finding
    from controller.cli.view.paint import Painter

STOPPED, HURT, UNKNOWN = 3, 2, 5
WORST: Final = {"stops you": STOPPED, "will hurt": HURT, "not known": UNKNOWN, "note": 0}
COLOURS: Final = {"stops you": "bold red", "will hurt": "dark_orange", "not known": "magenta",
                  "note": "dim"}


class Format(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"


def command(
    context: typer.Context,
    hosts: Annotated[list[str] | None, typer.Argument(
        metavar="[HOST]...", show_default=False,
        help="Some of the declared hosts; else all.")] = None,
    specs: Annotated[str, typer.Option(
        "--specs", metavar="PATH", help="A folder of specs or a git URL.")] = "estate",
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TEXT,
    as_json: Json = False,
) -> None:
    """Say what is wrong on hosts and between them, and which command mends it.

    Every host is looked at once, and looks at every other: nothing is changed. Each finding says
    what it is, what follows, and the command that mends it. A check that could not be done says so:
    what it would show is not known. All of it takes at most ten seconds.

    Examples: `hotsite doctor`, `hotsite doctor kvm1 kvm2 --specs estate`,
    `hotsite doctor --format json`.

    Exit status: 0 nothing, or notes alone, 1 failed, 2 something will hurt, 3 something stops you,
    4 invalid spec, 5 something could not be checked, and nothing worse was found.
    """
    as_json = as_json or form is Format.JSON
    with errors_reported(as_json=as_json):
        found = wait_for(manager_of(context, None).examine(specs, hosts or []))
        status = status_of(found)
        if as_json:
            print_json({"findings": to_values(found), "exit": status})
        else:
            tell(found)
        raise typer.Exit(status)


def status_of(found: "list[Finding]") -> int:
    """Return the exit status for these findings: the worst one counts."""
    return next((WORST[word] for word in WORST if any(one.level == word for one in found)), 0)


def to_values(found: "list[Finding]") -> list[dict[str, Any]]:
    """Return findings as plain values."""
    return [{**one._asdict(), "on": one.typed_on} for one in found]


def tell(found: "list[Finding]") -> None:
    """Print the findings, the worst first."""
    from controller.cli.view.paint import Painter, console  # noqa: PLC0415

    painter = Painter(console())
    if found:
        tell_findings(painter, found)
    else:
        painter.line("Nothing is wrong that doctor knows of.", "green")


def tell_findings(painter: "Painter", found: "list[Finding]") -> None:
    """Print findings by a painter."""
    from rich.text import Text  # noqa: PLC0415  # keeps --help quick

    from controller.adoption.doctor.finding import HERE  # noqa: PLC0415

    for one in found:
        head = Text(f"{one.level:<9}  ", COLOURS[one.level])
        head.append(f"{one.about}  {one.check}: ", "bold")
        painter.sentence(head, one.what, indent=" " * 11)
        painter.sentence(Text(" " * 11), f"so: {one.consequence}", "dim", indent=" " * 15)
        if one.mend:
            where = f" on {one.typed_on}" if one.typed_on not in {"", HERE} else ""
            painter.line(f"{'':11}mend{where}{' here' * (one.typed_on == HERE)}: {one.mend}")
    counts = [f"{sum(one.level == word for one in found)} {word}" for word in WORST
              if any(one.level == word for one in found)]
    painter.line(f"{', '.join(counts)}.", "bold")
