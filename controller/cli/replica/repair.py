"""`hotsite replica repair`."""

import typer

from controller.cli.replica.request import By, Machine, Path, State, Wait, ask


def command(context: typer.Context, machine: Machine, path: Path = None, wait: Wait = True,
            by: By = None, state: State = None) -> None:
    """Send again what reads wrong in one replica, and only that.

    Where nothing is known to be damaged, the replica is verified, and what then
    reads wrong comes with the next copy, a minute later at most.
    The running loop does it; where none runs, name the specs.

    Examples: `hotsite replica repair web`, `hotsite replica repair web specs/`.

    Exit status: 0 done, 1 failed, 2 not begun yet, 3 nothing to do or refused by a gate, 4 invalid
    spec, 5 no loop runs.
    """
    from controller.plan.survey.context import RequestKind  # noqa: PLC0415  # keeps --help quick

    ask(context, RequestKind.REPAIR, machine, path, by, state, wait=wait)
