"""`hotsite suspend`: pauses healing of one scope, with an owner, a reason and an end."""

from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.shared import (
    By,
    Json,
    State,
    complain,
    duration_s,
    manager_of,
    print_json,
    told,
    who,
)

if TYPE_CHECKING:
    from controller.reconcile.manager import Manager


def command(
    context: typer.Context,
    target: Annotated[str, typer.Argument(
        metavar="KIND/NAME", help="Estate/…, Site/…, Host/…, Switch/… or VirtualMachine/….")],
    span: Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 2h.")],
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Shown wherever it is.")],
    by: By = None,
    as_json: Json = False,
    state: State = None,
) -> None:
    """Pause healing of an object and all in it, for a while.

    The loop still looks and shows what differs, and does nothing about it until the pause ends or
    `resume` ends it. A newer pause of the same object takes the older one's place. What runs now
    is not stopped.

    Examples: `hotsite suspend Host/paris-1 --for 2h --why "new memory"`,
    `hotsite suspend Estate/lab --for 15m --why "network works" --by ann`.

    Exit status: 0 paused, 1 nothing of this name is declared or the journal cannot be written.
    """
    from controller.cli.view.declared import unknown_target  # noqa: PLC0415  # keeps --help quick
    from controller.cli.view.log import instant  # noqa: PLC0415
    from controller.plan.survey.context import Suspension  # noqa: PLC0415

    seconds = duration_s(span)
    with told(as_json=as_json):
        manager = manager_of(context, state)
        wrong = unknown_target(manager, target)
        if wrong is not None:
            complain(wrong)
            raise typer.Exit(1)
        until_at = manager.clock() + seconds
        store = manager.open_store()
        try:
            store.suspend(Suspension(target, who(by), why, until_at))
            store.note("suspended", target, f"suspended by {who(by)} until {instant(until_at)}:"
                       f" {why}", manager.clock())
        finally:
            store.close()
        if as_json:
            print_json({"target": target, "by": who(by), "why": why, "until_at": until_at})
        else:
            typer.echo(f"{target} is suspended until {instant(until_at)}; `hotsite resume"
                       f" {target}` ends it")
            if not loop_runs(manager):
                complain(f"no loop runs with the state folder {manager.state}: the pause holds for"
                         " what is started with this folder; name another with --state")


def loop_runs(manager: "Manager") -> bool:
    """Return whether a loop works with this state folder now."""
    from controller.cli.view.loop_status import read_picture  # noqa: PLC0415  # keeps --help quick

    return read_picture(manager).alive
