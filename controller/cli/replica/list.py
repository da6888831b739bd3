"""`hotsite replica list`: every replica that was seen."""

import typer

from controller.cli.shared import Json, State, complain, manager_of, print_json, told


def command(context: typer.Context, as_json: Json = False, state: State = None) -> None:
    """Show every replica that was seen: its newest point and that one's age, and its health.

    It reads what the loop or `apply` saw last and contacts nothing.

    Examples: `hotsite replica list`, `hotsite replica list --json`.

    Exit status: 0 shown, 1 no replica was ever seen.
    """
    from controller.cli.get import rows, show  # noqa: PLC0415  # keeps --help quick
    from controller.cli.view.loop_status import read_picture  # noqa: PLC0415

    with told(as_json=as_json):
        found = rows(read_picture(manager_of(context, state)), "replica")
        if not found:
            complain("no replica was ever seen with this state folder: VMs with `protection` get"
                     " theirs from `hotsite run` or `hotsite apply`")
            raise typer.Exit(1)
        if as_json:
            print_json(found)
        else:
            show(found)
