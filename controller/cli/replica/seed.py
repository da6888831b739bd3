"""`hotsite replica seed`."""

import typer

from controller.cli.replica.request import By, Machine, Path, State, Wait, ask


def command(context: typer.Context, machine: Machine, path: Path = None, wait: Wait = True,
            by: By = None, state: State = None) -> None:
    """Make the first copy of one VM now; if it has a replica, compare every disk as a whole.

    A comparison reads all of the source and sends only what differs.
    The running loop does it; if none runs, name the specs.

    Examples: `hotsite replica seed web`, `hotsite replica seed web specs/`.

    Exit status: 0 done, 1 failed, 2 not begun yet, 3 nothing to do or refused by a gate, 4 invalid
    spec, 5 no loop runs.
    """
    from controller.plan.survey.context import RequestKind  # noqa: PLC0415  # keeps --help quick

    ask(context, RequestKind.SEED, machine, path, by, state, wait=wait)
