"""`hotsite failover`: starts the VMs of a lost site or host elsewhere, or moves what is well."""

from typing import Annotated

import typer

from controller.cli.shared import Json, who
from controller.cli.takeover.order import Again, By, State, Target, Wait, Why, order


def command(
    context: typer.Context,
    target: Target,
    planned: Annotated[bool, typer.Option(
        "--planned", help="It is well: move it, with nothing lost.")] = False,
    point: Annotated[str, typer.Option(
        "--point", metavar="N|TIME", help="An older restore point: its number, or the newest that"
        " is not younger than an instant.")] = "",
    accept_loss: Annotated[bool, typer.Option(
        "--accept-loss", help="Take the loss that the status shows for what waits.")] = False,
    dry_run: Annotated[bool, typer.Option(
        "--dry-run", help="Print the runbook, and order nothing.")] = False,
    as_json: Json = False,
    why: Why = "",
    again: Again = None,
    wait: Wait = True,
    by: By = None,
    state: State = None,
) -> None:
    """Order the running loop to start elsewhere what ran on a lost site or host.

    A host that may still run a VM is first proven off: by its BMC, by its guard's silence, or by
    `hotsite confirm-fenced`. Nothing is copied: each VM starts from its newest sound restore point,
    on the host that holds its replica, and what was written after that point is lost to it; its old
    disks keep it. What answers is refused, unless it is `--planned`. Where no person is asked, by
    `failover: automatic`, the loop does the same by itself.

    `--dry-run` looks at every node and prints who would come back where, from which point, with
    what loss, in which wave, and who would wait for a person and why.

    Examples: `hotsite failover paris --why "the room burns"`, `hotsite failover paris --dry-run`,
    `hotsite failover sql --point 41`, `hotsite failover paris --planned --name-again paris`.

    Exit status: 0 its VMs run elsewhere, 1 it is split or nothing of that name is declared, 2
    nothing has begun yet, 3 it waits for a person or is refused, 5 no loop runs here.
    """
    if dry_run:
        from controller.cli.takeover.dry_run import show_runbook  # noqa: PLC0415

        show_runbook(context, target, state, point, as_json=as_json)
    from controller.plan.survey.context import FailoverRequest  # noqa: PLC0415

    order(context, FailoverRequest(
        target, who(by), why, 0.0, planned=planned, accepts_loss=accept_loss, point=point), state,
          again, wait=wait)
