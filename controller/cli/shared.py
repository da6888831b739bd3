"""What all verbs share: common options, one manager, and one sentence per expected error."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from controller.cli.view.terminal import fit, fit_json

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from controller.reconcile.manager import Manager

T = TypeVar("T")
FAILED: Final = 1
INVALID: Final = 4
UNKNOWN: Final = 5
IN_THE_MIDDLE: Final = ("interrupted: the steps that had begun may be done or not. The journal"
                        " names them, and the next apply or run looks at them first")

State = Annotated[Path | None, typer.Option(
    "--state", metavar="DIR", envvar="HOTSITE_STATE", show_default=False,
    help="Folder of the journal, pauses and approvals; /var/lib/hotsite for root.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
By = Annotated[str | None, typer.Option("--by", metavar="NAME", show_default=False,
                                        help="Who says so; your login name by default.")]


def manager_of(context: typer.Context, state: Path | None) -> "Manager":
    """Return the manager of the state folder; tests pass a maker of their own in the context."""
    from controller.reconcile.manager import Manager  # noqa: PLC0415  # keeps --help quick

    make = context.find_root().obj or Manager
    manager = make(state)
    assert isinstance(manager, Manager), "the context holds no maker of managers"
    return manager


@contextmanager
def errors_reported(*, as_json: bool = False) -> Iterator[None]:
    """Print every expected error as one sentence on standard error, and exit with its status.

    Shapes: with `as_json` also one JSON object on standard output.
    """
    from controller.errors import HotsiteError, SourceUnavailable, SpecError  # noqa: PLC0415

    try:
        yield
    except HotsiteError as error:
        status = (INVALID if isinstance(error, SpecError)
                  else UNKNOWN if isinstance(error, SourceUnavailable) else FAILED)
        problems = error.problems if isinstance(error, SpecError) else (str(error),)
        for problem in problems:
            complain(problem)
        if as_json:
            print_json({"exit": status, "problems": list(problems)})
        raise typer.Exit(status) from None


def wait_for(main: "Coroutine[Any, Any, T]", *, interrupted: str = "") -> "T":
    """Run `main` to its end and return its result; Ctrl-C prints `interrupted` first."""
    import asyncio  # noqa: PLC0415  # keeps --help quick

    try:
        return asyncio.run(main)
    except KeyboardInterrupt:
        if interrupted:
            complain(interrupted)
        raise


def complain(sentence: str) -> None:
    """Print one sentence on standard error."""
    typer.echo(fit(sentence), err=True)


def print_json(value: Any) -> None:
    """Print one JSON value."""
    typer.echo(fit_json(json.dumps(value, indent=2, ensure_ascii=False)))


def who(by: str | None) -> str:
    """Return the name of the person who asks: `by`, else the login name, also behind sudo."""
    names = (by, os.environ.get("SUDO_USER"), os.environ.get("USER"), os.environ.get("LOGNAME"))
    return next((name for name in names if name), f"uid {os.getuid()}")


def duration_s(text: str) -> float:
    """Return `2h` in seconds.

    Errors: typer.BadParameter with what to write instead.
    """
    from controller.model.units import parse_duration_s  # noqa: PLC0415

    try:
        value = parse_duration_s(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if value <= 0:
        raise typer.BadParameter(f"{text!r} is no duration: write it like 2h")
    return value
