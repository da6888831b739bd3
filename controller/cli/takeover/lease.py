"""`hotsite lease`: which controller conducts, asked of the place that keeps the lease."""

from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.shared import (
    FAILED,
    Json,
    State,
    complain,
    errors_reported,
    manager_of,
    print_json,
    wait_for,
)
from controller.cli.view.terminal import fit

if TYPE_CHECKING:
    from controller.reconcile.manager import Manager


def command(
    context: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="Specs: where the lease is kept.")],
    as_json: Json = False,
    state: State = None,
) -> None:
    """Show which controller conducts, in which term and for how long.

    The witness or etcd is asked, whether a loop runs here or not; nothing is taken or given up. A
    controller gives its lease up when it is stopped; after a crash it runs out by itself.

    Examples: `hotsite lease specs/`, `hotsite lease specs/ --json`.

    Exit status: 0 somebody conducts, 1 nobody does or no lease is declared, 4 invalid spec, 5 the
    place did not answer.
    """
    with errors_reported(as_json=as_json):
        raise typer.Exit(wait_for(show(manager_of(context, state), path, as_json=as_json)))


async def show(manager: "Manager", path: str, *, as_json: bool) -> int:
    """Print whose the lease is, and return the exit status."""
    from controller.cli.shared import UNKNOWN  # noqa: PLC0415
    from controller.errors import ActionError  # noqa: PLC0415  # keeps --help quick
    from controller.model.units import render_duration  # noqa: PLC0415

    desired = await manager.load(path)
    try:
        found = await manager.read_lease(desired)
    except ActionError as error:
        complain(str(error))
        return UNKNOWN
    if found is None:
        complain("no lease is declared: whoever runs conducts")
        return FAILED
    place, lease = found
    if as_json:
        print_json({"place": place, "holder": lease.holder, "term": lease.term,
                    "left_s": lease.left_s})
    elif lease.left_s > 0:
        typer.echo(fit(f"{lease.holder} conducts in term {lease.term}, by {place}, for another"
                       f" {render_duration(lease.left_s)} unless it renews"))
    else:
        last = (f"; the last term was {lease.term}, of {lease.holder}, and ran out" if lease.holder
                else f"; term {lease.term} was given up" if lease.term else ", and never did")
        typer.echo(fit(f"nobody conducts, by {place}{last}"))
    return 0 if lease.left_s > 0 else FAILED
