"""`hotsite save-state`: the journal as one file, while the loop goes on."""

from pathlib import Path
from typing import Annotated

import typer

from controller.cli.shared import Json, State, errors_reported, manager_of, print_json


def command(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that does not exist yet.")],
    as_json: Json = False,
    state: State = None,
) -> None:
    """Write a copy of the journal, with its pauses and all that was last seen, to one file.

    A running loop is not disturbed, and the copy is whole at one instant. Nothing in it is needed
    to understand the estate again: it saves the history, and what holds somebody back. Specs,
    keys and fetched branches are not in it.

    Examples: `hotsite save-state /backup/hotsite-$(date +%F).db`,
    `hotsite save-state --state /var/lib/hotsite lab.db`.

    Exit status: 0 written, 1 there is no journal, or the file is there or cannot be written.
    """
    with errors_reported(as_json=as_json):
        from controller.store.backup.backup import back_up  # noqa: PLC0415  # keeps --help quick

        back_up(manager_of(context, state).journal, file)
        if as_json:
            print_json({"file": str(file)})
        else:
            typer.echo(f"{file}: written; `hotsite restore-state {file}` puts it back")
