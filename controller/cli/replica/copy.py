"""`hotsite replica copy`."""

import typer

from controller.cli.replica.request import By, Machine, Path, State, Wait, ask


def command(context: typer.Context, machine: Machine, path: Path = None, wait: Wait = True,
            by: By = None, state: State = None) -> None:
    """Make the next restore point of one VM now, whatever the age of the newest.

    It sends what has changed since the newest point.
    The running loop does it; if none runs, name the specs.

    Examples: `hotsite replica copy web`, `hotsite replica copy web specs/`.

    Exit status: 0 done, 1 failed, 2 not begun yet, 3 nothing to do or refused by a gate, 4 invalid
    spec, 5 no loop runs.
    """
    from controller.plan.survey.context import RequestKind  # noqa: PLC0415  # keeps --help quick

    ask(context, RequestKind.COPY, machine, path, by, state, wait=wait)
