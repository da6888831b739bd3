"""`hotsite schema`: writes the JSON schemas of the specs, for editors and for other programs."""

import json
from pathlib import Path
from typing import Annotated

import typer


def command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write.")] = Path(
        "schemas"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write one JSON schema per kind into a folder, `schemas/` by default.

    An editor that reads the line `# yaml-language-server: $schema=../schemas/host.json` then
    completes fields and marks mistakes; `spec.json` takes a file of several kinds.

    Examples: `hotsite schema`, `hotsite schema /tmp/schemas`.

    Exit status: 0 the files are current, 1 they cannot be written.
    """
    from controller.source.schema import write_schemas  # noqa: PLC0415  # keeps --help quick

    try:
        changed = write_schemas(folder)
    except OSError as error:
        typer.echo(f"{folder}: cannot be written: {error.strerror}: choose another folder",
                   err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "changed": changed}))
        return
    wrote = "wrote " + ", ".join(changed) if changed else "already current"
    typer.echo(f"{folder}: {wrote}")
