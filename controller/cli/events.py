"""`hotsite events`: the journal, oldest line first."""

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.shared import FAILED, State, complain, errors_reported, manager_of

if TYPE_CHECKING:
    from controller.store.journal import EventRow
    from controller.store.store import Store

PAUSE_S = 0.5


def command(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", help="Go on as lines are written.")] = False,
    target: Annotated[str | None, typer.Option(
        "--target", metavar="KIND/NAME", show_default=False, help="Only this object.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many lines, the newest.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    state: State = None,
) -> None:
    """Show what was done, refused and found: intents, outcomes and notes, oldest first.

    It reads the journal and changes nothing; with `--follow` it goes on until interrupted.

    Examples: `hotsite events`, `hotsite events --follow`,
    `hotsite events --target VirtualMachine/sql --limit 10`.

    Exit status: 0 shown, 1 the journal cannot be read or has no line about that object, 130
    interrupted while following.
    """
    with errors_reported(as_json=as_json):
        store = manager_of(context, state).open_store()
        try:
            newest = 0
            rows = store.events(limit, target=target)
            if target is not None and not rows:
                complain(no_line(store, target))
                if not follow:
                    raise typer.Exit(FAILED)
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


def no_line(store: "Store", target: str) -> str:
    """Return the sentence that nothing was written about `target`, with the nearest known one."""
    from controller.source.problems import suggestion  # noqa: PLC0415  # keeps --help quick

    known = store.event_targets()
    near = suggestion(target, known) if known else "it holds nothing yet"
    return f"the journal has no line about {target}: {near}"


def line(row: "EventRow", *, as_json: bool) -> str:
    """Return one line of the journal as text or JSON."""
    from controller.cli.view.log import describe_row  # noqa: PLC0415
    from controller.cli.view.terminal import fit_json  # noqa: PLC0415

    whole = fit_json(json.dumps(row._asdict(), ensure_ascii=False))
    return whole if as_json else describe_row(row)
