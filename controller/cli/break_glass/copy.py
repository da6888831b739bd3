"""`hotsite break-glass copy`: the specs in force, to be edited while git is down."""

from pathlib import Path
from typing import Annotated

import typer

from controller.cli.shared import Json, State, errors_reported, manager_of, print_json


def command(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.")],
    as_json: Json = False,
    state: State = None,
) -> None:
    """Write the specs in force into a new folder, to be edited and put in force from there.

    They are read from this machine: neither git nor the forge is asked. What is in force by
    break-glass already is in them.

    Examples: `hotsite break-glass copy /root/tonight`, then edit it, then
    `hotsite apply /root/tonight --break-glass "the forge is down, sql needs memory"`.

    Exit status: 0 written, 1 the folder is there already, 5 no commit is in force here.
    """
    from controller.reconcile.break_glass.proposal import branch_of, copy  # noqa: PLC0415

    with errors_reported(as_json=as_json):
        manager = manager_of(context, state)
        store = manager.open_store()
        try:
            revision = copy(branch_of(store, manager.state), store, folder)
        finally:
            store.close()
        if as_json:
            print_json({"folder": str(folder), "revision": revision})
        else:
            typer.echo(f"The specs in force, {revision}, are in {folder}. Edit them, then"
                       f" `hotsite apply {folder} --break-glass WHY`")
