"""`hotsite restore-state`: a copy of the journal becomes the journal."""

from pathlib import Path
from typing import Annotated

import typer

from controller.cli.shared import Json, State, errors_reported, manager_of, print_json


def command(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `save-state` wrote.")],
    as_json: Json = False,
    state: State = None,
) -> None:
    """Put a copy of the journal back, also one of an earlier hotsite; no loop may run meanwhile.

    The journal that is there is kept beside it under another name. Pauses, history and what was
    last seen come back. What somebody allowed, requested, ordered or confirmed does not: it may
    have been done, or have become untrue, since then. Give those orders again.

    Examples: `hotsite restore-state /backup/hotsite-2026-11-28.db`,
    `hotsite restore-state lab.db --state /var/lib/hotsite`.

    Exit status: 0 done, 1 a loop runs, or the file is damaged, foreign or of a newer hotsite.
    """
    with errors_reported(as_json=as_json):
        from controller.store.backup.backup import put_back  # noqa: PLC0415  # keeps --help quick

        journal = manager_of(context, state).journal
        aside = put_back(file, journal)
        if as_json:
            print_json({"journal": str(journal), "replaced": None if aside is None else str(aside)})
        else:
            typer.echo(f"{journal}: put back from {file}"
                       + ("" if aside is None else f"; the one before is now {aside.name}"))
