"""`hotsite resume`: ends a pause."""

from typing import Annotated

import typer

from controller.cli.shared import (
    By,
    Json,
    State,
    complain,
    errors_reported,
    manager_of,
    print_json,
    who,
)


def command(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="KIND/NAME", help="What was suspended.")],
    by: By = None,
    as_json: Json = False,
    state: State = None,
) -> None:
    """End a pause that `suspend` began; the running loop decides again within a second.

    A change that a node undid by itself, because it had been cut off, is tried once more, too.
    A pause that is declared in the specs ends there, not here.

    Examples: `hotsite resume Host/paris-1`, `hotsite resume Estate/lab --by ann`.

    Exit status: 0 resumed, 1 it was not suspended or the journal cannot be written.
    """
    from controller.reconcile.ask.ask import resume  # noqa: PLC0415  # keeps --help quick

    with errors_reported(as_json=as_json):
        manager = manager_of(context, state)
        store = manager.open_store()
        try:
            was, again = resume(store, target, who(by), manager.clock())
        finally:
            store.close()
        if as_json:
            print_json({"target": target, "was_suspended": was, "tried_again": again})
        elif was:
            typer.echo(f"{target} is no longer suspended")
        elif again:
            typer.echo(f"what {target} undid by itself is tried once more")
        if not was and not again:
            complain(f"{target} was not suspended by hand: `hotsite status` lists what is")
            raise typer.Exit(1)
