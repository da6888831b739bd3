"""`hotsite confirm-fenced`: a person's word that a silent host is off."""

from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.shared import By, State, complain, errors_reported, manager_of, who
from controller.cli.takeover.order import specs_of

if TYPE_CHECKING:
    from controller.reconcile.inspect.loop_status import LoopStatus


def command(
    context: typer.Context,
    host: Annotated[str, typer.Argument(metavar="HOST", help="The silent host.")],
    why: Annotated[str, typer.Option("--reason", "--why", metavar="TEXT",
                                     help="How you know: what you saw or did.")],
    by: By = None,
    state: State = None,
) -> None:
    """Say that a host is surely off, so that its VMs may start elsewhere.

    Only say so after you have cut its power with your own hands, or have seen that it has none: if
    it runs, its VMs then run twice. The word is for the boot that was last seen of it, and ends
    when the host is seen again.

    Examples: `hotsite confirm-fenced paris-1 --reason "pulled both power cords"`.

    Exit status: 0 written down, 1 there is no such host, 3 it answers, 5 no loop runs here.
    """
    from controller.plan.survey.context import Confirmation  # noqa: PLC0415
    from controller.reconcile.inspect.loop_status import read_status  # noqa: PLC0415  # slow

    with errors_reported():
        manager = manager_of(context, state)
        desired = specs_of(manager, host)
        if host not in desired.hosts:
            complain(f"there is no host {host}; there are {', '.join(sorted(desired.hosts))}")
            raise typer.Exit(1)
        loop_status = read_status(manager)
        if answers(loop_status, host):
            complain(f"{host} answers: it is not off, and nothing is written down")
            raise typer.Exit(3)
        seen = loop_status.seen.get(host)
        store = manager.open_store()
        try:
            store.confirm_fenced(Confirmation(
                host, who(by), why, seen.facts.boot_id if seen else "", manager.clock()))
            store.note("confirmed", f"Host/{host}", f"{who(by)} says that {host} is off: {why}",
                       manager.clock())
        finally:
            store.close()
        typer.echo(f"{host} counts as off until it is seen again")


def answers(loop_status: "LoopStatus", host: str) -> bool:
    """Return whether a host answered the loop's last question."""
    nodes = (loop_status.heartbeat or {}).get("nodes") or {}
    return bool((nodes.get(host) or {}).get("state") == "known")
