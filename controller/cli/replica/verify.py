"""`hotsite replica verify`."""

import typer

from controller.cli.replica.request import By, Machine, Path, State, Wait, ask


def command(context: typer.Context, machine: Machine, path: Path = None, wait: Wait = True,
            by: By = None, state: State = None) -> None:
    """Verify one replica against its hashes now, and repair what its own data can repair.

    What stays damaged is sent with the next restore point; nothing on the source is read.
    The running loop does it; if none runs, name the specs.

    Examples: `hotsite replica verify web`, `hotsite replica verify web specs/`.

    Exit status: 0 done, 1 failed, 2 not begun yet, 3 nothing to do or refused by a gate, 4 invalid
    spec, 5 no loop runs.
    """
    from controller.plan.survey.context import RequestKind  # noqa: PLC0415  # keeps --help quick

    ask(context, RequestKind.VERIFY, machine, path, by, state, wait=wait)
