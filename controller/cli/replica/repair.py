"""`hotsite replica repair`."""

import typer

from controller.cli.replica.request import By, Machine, Path, State, Wait, ask


def command(context: typer.Context, machine: Machine, path: Path = None, wait: Wait = True,
            by: By = None, state: State = None) -> None:
    """Send the damaged parts of one replica again, and only those.

    If no damage is known, the replica is verified first; damage that this finds is
    sent with the next copy, at most a minute later.
    The running loop does it; if none runs, name the specs.

    Examples: `hotsite replica repair web`, `hotsite replica repair web specs/`.

    Exit status: 0 done, 1 failed, 2 not begun yet, 3 nothing to do or refused by a gate, 4 invalid
    spec, 5 no loop runs.
    """
    from controller.plan.survey.context import RequestKind  # noqa: PLC0415  # keeps --help quick

    ask(context, RequestKind.REPAIR, machine, path, by, state, wait=wait)
