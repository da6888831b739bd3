"""`hotsite failback`: moves VMs that failed over back to where they are declared."""

import typer

from controller.cli.shared import who
from controller.cli.takeover.order import Again, By, State, Target, Wait, Why, order


def command(
    context: typer.Context,
    target: Target,
    why: Why = "",
    again: Again = None,
    wait: Wait = True,
    by: By = None,
    state: State = None,
) -> None:
    """Order the running loop to move back what failed over, once its old disks are replicas again.

    The copies at the old site are brought up to date while the VMs run; then each is shut down, the
    last difference is sent, and it starts where it is declared. Nothing is lost and nothing seeded
    again. A VM whose move fails stays whole where it is. What failed over of one host alone goes
    back by an order for that host.

    Examples: `hotsite failback paris --name-again paris`, `hotsite failback paris-1
    --name-again paris-1`, `hotsite failback sql`.

    Exit status: 0 done, 1 a move failed or nothing of that name is declared, 2 nothing has begun
    yet, 3 it waits for a person or is refused, 5 no loop runs here.
    """
    from controller.plan.survey.context import FailoverRequest  # noqa: PLC0415

    request = FailoverRequest(target, who(by), why, 0.0, planned=True, back=True)
    order(context, request, state, again, wait=wait)
