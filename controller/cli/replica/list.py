"""`hotsite replica list`: shows every replica that was seen."""

import typer

from controller.cli.shared import Json, State, complain, errors_reported, manager_of, print_json


def command(context: typer.Context, as_json: Json = False, state: State = None) -> None:
    """Show every replica that was seen: its newest point with its age, and its health.

    It reads what the loop or `apply` saw last and contacts nothing.

    Examples: `hotsite replica list`, `hotsite replica list --json`.

    Exit status: 0 shown, 1 no replica was ever seen.
    """
    from controller.cli.get import rows, show  # noqa: PLC0415  # keeps --help quick
    from controller.reconcile.inspect.loop_status import read_status  # noqa: PLC0415

    with errors_reported(as_json=as_json):
        found = rows(read_status(manager_of(context, state)), "replica")
        if not found:
            complain("no replica was ever seen with this state folder: VMs with `protection` get"
                     " theirs from `hotsite run` or `hotsite apply`")
            raise typer.Exit(1)
        if as_json:
            print_json(found)
        else:
            show(found)
