"""`hotsite validate`: loads and checks specs, and names everything that is wrong with them."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from controller.model.desired import Desired

OK, INVALID, UNKNOWN = 0, 4, 5
NOT_READ_SHOWN = 10


def command(
    where: Annotated[str, typer.Argument(
        metavar="PATH", help="A folder of specs, one file, or a git URL.")],
    at: Annotated[str | None, typer.Option(
        "--at", metavar="REV", show_default=False,
        help="The specs as this revision in git has them, whatever the folder holds.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Load and check specs, and name everything that is wrong with them at once.

    No host is contacted and nothing is changed. Each problem is printed as `file:line:column: what
    is wrong: what to write`; no line is given where a whole file or folder is meant. A branch is
    not put in force by this, and no signature is asked for.

    Examples: `hotsite validate specs/`, `hotsite validate specs/ --at origin/main`,
    `hotsite validate git+ssh://git@host/estate.git#main --json`.

    Exit status: 0 the specs are valid, 4 they are not, 5 the repository cannot be read.
    """
    from controller.errors import (  # noqa: PLC0415  # keeps --help quick
        SourceUnavailable,
        SpecError,
    )

    try:
        desired = declared_at(where, at)
    except SpecError as error:
        tell_problems(where, error.problems, as_json=as_json)
        raise typer.Exit(INVALID) from None
    except SourceUnavailable as error:
        tell_problems(where, (str(error),), as_json=as_json)
        raise typer.Exit(UNKNOWN) from None
    shown_as = where if where.startswith("git+") else str(Path(where))
    counts = Counter(target.partition("/")[0] for target in desired.places)
    if as_json:
        typer.echo(json.dumps({"valid": True, "revision": desired.revision, "objects": counts,
                               "not_read": desired.not_read, "problems": []},
                              indent=2, sort_keys=True))
        return
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    typer.echo(f"{shown_as}: valid: {listed} (revision {desired.revision})")
    if desired.not_read:
        shown = ", ".join(desired.not_read[:NOT_READ_SHOWN])
        more = len(desired.not_read) - NOT_READ_SHOWN
        typer.echo(f"not read, since specs end in .yaml, .yml or .json and are not hidden: {shown}"
                   + (f" and {more} more" if more > 0 else ""))


def declared_at(where: str, at: str | None) -> "Desired":
    """Return what a folder, or a revision of a repository, declares.

    Errors: SpecError; SourceUnavailable if the repository cannot be read.
    """
    from controller.errors import SpecError  # noqa: PLC0415  # keeps --help quick

    if not where.strip():
        raise SpecError(("no folder is named: write one, or `.` for the current folder",))
    if at is None and not where.startswith("git+"):
        from controller.source.load import load_folder  # noqa: PLC0415

        return load_folder(Path(where))
    from controller.cli.shared import wait_for  # noqa: PLC0415
    from controller.source.git.revisions import declared_in  # noqa: PLC0415

    return wait_for(declared_in(where, at))


def tell_problems(where: str, problems: tuple[str, ...], *, as_json: bool) -> None:
    """Print the problems, each with a path relative to the current folder, then their number."""
    if as_json:
        typer.echo(json.dumps({"valid": False, "problems": list(problems)}, indent=2))
        return
    for problem in problems:
        typer.echo(in_folder(Path(where), problem), err=True)
    hidden = problems[-1].removeprefix("... and ").removesuffix(" more")
    count = len(problems) if hidden == problems[-1] else len(problems) - 1 + int(hidden)
    shown_as = where if where.startswith("git+") else str(Path(where))
    typer.echo(f"{shown_as}: invalid: {count} problem{'s' if count != 1 else ''}", err=True)


def in_folder(path: Path, problem: str) -> str:
    """Return the problem with the path of its file relative to the current folder."""
    file = problem.partition(":")[0]
    return f"{path / file}{problem.removeprefix(file)}" if (path / file).exists() else problem
