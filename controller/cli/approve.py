"""`hotsite approve`: a person's yes to one action."""

from typing import Annotated

import typer

from controller.cli.shared import (
    By,
    Json,
    State,
    duration_s,
    errors_reported,
    manager_of,
    print_json,
    who,
)


def command(
    context: typer.Context,
    action_id: Annotated[str, typer.Argument(
        metavar="ACTION_ID", help="As `plan` and `status --json` show it.")],
    span: Annotated[str, typer.Option("--for", metavar="TIME", help="How long it holds.")] = "1h",
    why: Annotated[str, typer.Option("--why", metavar="WHY", help="The reason, for the journal.")
                   ] = "",
    by: By = None,
    as_json: Json = False,
    state: State = None,
) -> None:
    """Let the running loop do one action, once, that goes beyond its autonomy.

    The yes holds for this action as it is planned now, at the revision in force, until it is begun
    or the yes expires; a new commit ends it. To do the same again takes another yes.
    Every other gate still holds, and the loop acts within a second if they let it. A step of a rung
    in the Estate's `approvals.twoPersons` waits until a second person has approved it, too.

    Examples: `hotsite approve 'restart:VirtualMachine/sql@paris-1'`,
    `hotsite approve 'migrate:VirtualMachine/web@paris-1/paris-2' --for 10m --by ann`.

    Exit status: 0 approved, 1 the loop does not plan this action, 5 no loop has run here.
    """
    from controller.reconcile.ask.ask import approve, instant  # noqa: PLC0415  # keeps --help quick
    from controller.reconcile.inspect.loop_status import read_status  # noqa: PLC0415

    seconds = duration_s(span)
    with errors_reported(as_json=as_json):
        manager = manager_of(context, state)
        beat = read_status(manager).heartbeat
        store = manager.open_store()
        try:
            given = approve(store, beat, action_id, who(by), seconds, manager.clock(),
                            why=why)
        finally:
            store.close()
        if as_json:
            print_json({"action": action_id, "revision": given.revision, "by": given.by,
                        "expires_at": given.expires_at})
        else:
            typer.echo(f"{action_id} is approved once, at revision {given.revision} until"
                       f" {instant(given.expires_at)}")
