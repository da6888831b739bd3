"""`hotsite approve`: a person's yes to one action."""

from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from controller.reconcile.inspect.loop_status import LoopStatus


def command(
    context: typer.Context,
    action_id: Annotated[str, typer.Argument(
        metavar="ACTION_ID", help="As `plan` and `status --json` show it.")],
    span: Annotated[str, typer.Option("--for", metavar="TIME", help="How long it holds.")] = "1h",
    by: By = None,
    as_json: Json = False,
    state: State = None,
) -> None:
    """Let the running loop do one action, once, that goes beyond its autonomy.

    The yes holds for this action as it is planned now, at the revision in force, until it is begun
    or the yes expires; a new commit ends it. To do the same again takes another yes.
    Every other gate still holds, and the loop acts within a second if they let it.

    Examples: `hotsite approve 'restart:VirtualMachine/sql@paris-1'`,
    `hotsite approve 'migrate:VirtualMachine/web@paris-1/paris-2' --for 10m --by ann`.

    Exit status: 0 approved, 1 the loop does not plan this action, 5 no loop has run here.
    """
    from controller.cli.view.log import instant  # noqa: PLC0415  # keeps --help quick
    from controller.plan.survey.context import Approval  # noqa: PLC0415
    from controller.reconcile.inspect.loop_status import read_status  # noqa: PLC0415

    seconds = duration_s(span)
    with errors_reported(as_json=as_json):
        manager = manager_of(context, state)
        loop_status = read_status(manager)
        revision, content = plans_it(loop_status, action_id)
        expires_at = manager.clock() + seconds
        store = manager.open_store()
        try:
            store.approve(Approval(action_id, revision, who(by), expires_at, content))
            store.note("approved", target_of(loop_status, action_id),
                       f"{action_id} approved by {who(by)} until {instant(expires_at)}",
                       manager.clock())
        finally:
            store.close()
        if as_json:
            print_json({"action": action_id, "revision": revision, "by": who(by),
                        "expires_at": expires_at})
        else:
            typer.echo(f"{action_id} is approved once, at revision {revision} until"
                       f" {instant(expires_at)}")


def plans_it(loop_status: "LoopStatus", action_id: str) -> tuple[str, str]:
    """Return the revision at which the loop plans the action, and what the action would do.

    Ends the program when the loop does not plan it.
    """
    if loop_status.heartbeat is None or loop_status.heartbeat.get("revision") is None:
        complain("no loop has run with this state folder: `hotsite apply` asks by itself")
        raise typer.Exit(5)
    planned = next((step for step in loop_status.steps if step["id"] == action_id), None)
    if planned is None:
        waiting = [step["id"] for step in loop_status.steps
                   if step["ruling"]["verdict"] == "needs approval"]
        known = f"these need approval: {', '.join(waiting)}" if waiting else "nothing needs it"
        complain(f"the loop does not plan {action_id}; {known}")
        raise typer.Exit(1)
    return str(loop_status.heartbeat["revision"]), str(planned.get("content", ""))


def target_of(loop_status: "LoopStatus", action_id: str) -> str:
    """Return the target of a planned action."""
    return next(str(step["target"]) for step in loop_status.steps if step["id"] == action_id)
