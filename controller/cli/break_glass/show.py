"""`hotsite break-glass show`: what is in force over git, as sentences or as a patch."""

from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.shared import Json, State, complain, errors_reported, manager_of, print_json

if TYPE_CHECKING:
    from controller.plan.break_glass.break_glass import BreakGlass

NONE = 1


def command(
    context: typer.Context,
    patch: Annotated[bool, typer.Option("--patch", help="Print it for `git apply`, and no more.")
                     ] = False,
    as_json: Json = False,
    state: State = None,
) -> None:
    """Show what is in force over git by break-glass: by whom, why, until when.

    The patch is against the commit in force. Where none is in force, the patch is of the last one.

    Examples: `hotsite break-glass show`, `hotsite break-glass show --patch | git apply`.

    Exit status: 0 one is in force, 1 none is.
    """
    with errors_reported(as_json=as_json):
        store = manager_of(context, state).open_store()
        try:
            glass, last = store.break_glass(), store.ended_break_glass()
        finally:
            store.close()
        one, said = (glass, "") if glass else (last[0], last[2]) if last else (None, "")
        if as_json:
            print_json({"in_force": glass is not None, "ended": said} | (
                {} if one is None else as_dict(one)))
        elif patch and one is not None:
            typer.echo(one.patch, nl=False)
            if glass is None:
                complain(said)
        else:
            show(glass, said)
        raise typer.Exit(0 if glass else NONE)


def as_dict(glass: "BreakGlass") -> dict[str, object]:
    """Return a break-glass as plain values."""
    return {"id": glass.id, "by": glass.by, "why": glass.why, "begun_at": glass.begun_at,
            "until_at": glass.until_at, "base": glass.base, "targets": list(glass.targets),
            "patch": glass.patch, "undoes": glass.undoes}


def show(glass: "BreakGlass | None", said: str) -> None:
    """Print what is in force, or what was last."""
    from controller.model.units import render_instant  # noqa: PLC0415  # keeps --help quick

    if glass is None:
        typer.echo(f"No break-glass is in force.{f' The last: {said}' if said else ''}")
        return
    typer.echo(f"{glass.sentence} until {render_instant(glass.until_at)}, because: {glass.why}")
    typer.echo(f"It is against commit {glass.base}:")
    typer.echo(glass.patch, nl=False)
    for sentence in glass.undoes or ():
        typer.echo(f"Its end undoes: {sentence}")
