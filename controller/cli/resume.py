"""`hotsite resume`: ends a pause."""

from typing import Annotated

import typer

from controller.cli.shared import By, Json, State, complain, manager_of, print_json, told, who


def command(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="KIND/NAME", help="What was suspended.")],
    by: By = None,
    as_json: Json = False,
    state: State = None,
) -> None:
    """End a pause that `suspend` began, and wake what it held back.

    The running loop decides anew within a second. A pause that stands in the specs is ended there.

    Examples: `hotsite resume Host/paris-1`, `hotsite resume Estate/lab --by ann`.

    Exit status: 0 resumed, 1 it was not suspended or the journal cannot be written.
    """
    with told(as_json=as_json):
        manager = manager_of(context, state)
        store = manager.open_store()
        try:
            was = store.resume(target)
            if was:
                store.note("resumed", target, f"resumed by {who(by)}", manager.clock())
        finally:
            store.close()
        if as_json:
            print_json({"target": target, "was_suspended": was})
        elif was:
            typer.echo(f"{target} is no longer suspended")
        if not was:
            complain(f"{target} was not suspended by hand: `hotsite status` lists what is")
            raise typer.Exit(1)
