"""`hotsite break-glass end`: back to git."""

import typer

from controller.cli.shared import By, Json, State, errors_reported, manager_of, print_json, who


def command(context: typer.Context, by: By = None, as_json: Json = False,
            state: State = None) -> None:
    """End what is in force over git by break-glass, before its time is over.

    The commit in force counts alone from then on. What that undoes goes through the gates like any
    commit: windows, autonomy, approvals. What is to stay has to be committed first.

    Examples: `hotsite break-glass end`.

    Exit status: 0 ended, 1 none is in force.
    """
    from controller.reconcile.break_glass.proposal import end  # noqa: PLC0415  # keeps --help quick

    with errors_reported(as_json=as_json):
        manager = manager_of(context, state)
        store = manager.open_store()
        try:
            glass = end(store, who(by), manager.clock())
        finally:
            store.close()
        if as_json:
            print_json({"id": glass.id, "targets": list(glass.targets)})
        else:
            typer.echo(f"Ended. {', '.join(glass.targets)}: git is in force again, by the ordinary"
                       " gates; `hotsite plan` shows what that brings")
