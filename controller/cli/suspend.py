"""`hotsite suspend`: pauses healing of one scope, with an owner, a reason and an end."""

from typing import Annotated

import typer

from controller.cli.shared import (
    By,
    Json,
    State,
    complain,
    duration_s,
    errors_reported,
    manager_of,
    print_json,
    who,
)


def command(
    context: typer.Context,
    target: Annotated[str, typer.Argument(
        metavar="KIND/NAME", help="Estate/…, Site/…, Host/…, Switch/… or VirtualMachine/….")],
    span: Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 2h.")],
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Shown with the pause.")],
    by: By = None,
    as_json: Json = False,
    state: State = None,
) -> None:
    """Pause healing of an object and all in it, for a while.

    The loop still looks and shows what differs, and does nothing about it until the pause ends or
    `resume` ends it. A newer pause of the same object replaces the older one. Actions that already
    run are not stopped.

    Examples: `hotsite suspend Host/paris-1 --for 2h --why "new memory"`,
    `hotsite suspend Estate/lab --for 15m --why "network works" --by ann`.

    Exit status: 0 paused, 1 nothing of this name is declared or the journal cannot be written.
    """
    from controller.cli.view.declared import unknown_target  # noqa: PLC0415  # keeps --help quick
    from controller.reconcile.ask.ask import instant, suspend  # noqa: PLC0415
    from controller.reconcile.inspect.loop_status import read_status  # noqa: PLC0415

    seconds = duration_s(span)
    with errors_reported(as_json=as_json):
        manager = manager_of(context, state)
        wrong = unknown_target(manager, target)
        if wrong is not None:
            complain(wrong)
            raise typer.Exit(1)
        store = manager.open_store()
        try:
            until_at = suspend(store, target, who(by), why, seconds, manager.clock())
        finally:
            store.close()
        if as_json:
            print_json({"target": target, "by": who(by), "why": why, "until_at": until_at})
        else:
            typer.echo(f"{target} is suspended until {instant(until_at)}; `hotsite resume"
                       f" {target}` ends it")
            if not read_status(manager).alive:
                complain(f"no loop runs with the state folder {manager.state}: the pause holds once"
                         " one is started with it; to name another folder use --state")
