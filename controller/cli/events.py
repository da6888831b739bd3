"""`hotsite events`: the journal, oldest line first."""

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.shared import State, manager_of, told

if TYPE_CHECKING:
    from controller.store.journal import EventRow

PAUSE_S = 0.5


def command(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", help="Go on as lines are written.")] = False,
    target: Annotated[str | None, typer.Option(
        "--target", metavar="KIND/NAME", show_default=False, help="Only this object.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="So many last lines.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    state: State = None,
) -> None:
    """Show what was done, refused and found: intents, outcomes and notes, oldest first.

    It reads the journal and changes nothing; with `--follow` it goes on until interrupted.

    Examples: `hotsite events`, `hotsite events --follow`,
    `hotsite events --target VirtualMachine/sql --limit 10`.

    Exit status: 0 shown, 1 the journal cannot be read, 130 interrupted while following.
    """
    with told():
        store = manager_of(context, state).open_store()
        try:
            newest = 0
            rows = store.events(limit, target=target)
            while True:
                for row in rows:
                    typer.echo(line(row, as_json=as_json))
                    newest = max(newest, row.id)
                if not follow:
                    return
                time.sleep(PAUSE_S)
                rows = store.events(1000, target=target, after=newest)
        finally:
            store.close()


def line(row: "EventRow", *, as_json: bool) -> str:
    """Return one line of the journal as text or JSON."""
    from controller.cli.log import describe_row  # noqa: PLC0415

    return json.dumps(row._asdict(), ensure_ascii=False) if as_json else describe_row(row)
