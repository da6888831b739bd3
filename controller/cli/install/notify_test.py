"""`hotsite notify-test`: whether a receiver of notifications gets anything."""

from typing import Annotated

import typer

from controller.cli.shared import State, errors_reported, manager_of, wait_for


def command(
    context: typer.Context,
    source: Annotated[str, typer.Argument(
        metavar="SOURCE", help="A folder of specs, or git+ssh://HOST/REPOSITORY#BRANCH.")],
    receivers: Annotated[list[str] | None, typer.Argument(
        metavar="[RECEIVER]...", show_default=False, help="All that are declared by default.")
    ] = None,
    state: State = None,
) -> None:
    """Tell receivers that nothing is wrong, and say whether that arrived.

    Each gets one message, which says that it is a test, whatever severity and objects it is
    declared for. Run it as the controller's account: it must be able to read the secrets' files.

    Examples: `hotsite notify-test specs/`, `hotsite notify-test specs/ oncall`.

    Exit status: 0 all took it, 1 one did not, 4 the specs are wrong or declare no such receiver.
    """
    from controller.errors import ActionError  # noqa: PLC0415  # keeps --help quick

    with errors_reported():
        outcomes = wait_for(manager_of(context, state).try_receivers(source, receivers or []))
        for name, outcome in outcomes.items():
            said = str(outcome) or "took it"
            typer.echo(f"{name}: {said}", err=isinstance(outcome, ActionError))
        if any(isinstance(outcome, ActionError) for outcome in outcomes.values()):
            raise typer.Exit(1)
