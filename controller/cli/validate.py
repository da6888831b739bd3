"""`hotsite validate`: loads and checks specs, and names everything that is wrong with them."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

OK, INVALID = 0, 4
NOT_READ_SHOWN = 10


def command(
    where: Annotated[str, typer.Argument(metavar="PATH", help="A folder of specs, or one file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Load and check specs, and name everything that is wrong with them at once.

    Nothing is contacted and nothing is changed. Each problem is printed as `file:line:column: what
    is wrong: what to write`; no line is given where a whole file or folder is meant.

    Examples: `hotsite validate specs/`, `hotsite validate specs/ --json`.

    Exit status: 0 the specs are valid, 4 they are not.
    """
    from controller.errors import SpecError  # noqa: PLC0415  # keeps --help quick
    from controller.source.load import load_folder  # noqa: PLC0415

    path = Path(where)
    try:
        if not where.strip():
            raise SpecError(("no folder is named: write one, or `.` for the current folder",))
        desired = load_folder(path)
    except SpecError as error:
        tell_problems(path, error.problems, as_json=as_json)
        raise typer.Exit(INVALID) from None
    counts = Counter(target.partition("/")[0] for target in desired.places)
    if as_json:
        typer.echo(json.dumps({"valid": True, "revision": desired.revision, "objects": counts,
                               "not_read": desired.not_read, "problems": []},
                              indent=2, sort_keys=True))
        return
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    typer.echo(f"{path}: valid: {listed} (revision {desired.revision})")
    if desired.not_read:
        shown = ", ".join(desired.not_read[:NOT_READ_SHOWN])
        more = len(desired.not_read) - NOT_READ_SHOWN
        typer.echo(f"not read, since specs end in .yaml, .yml or .json and are not hidden: {shown}"
                   + (f" and {more} more" if more > 0 else ""))


def tell_problems(path: Path, problems: tuple[str, ...], *, as_json: bool) -> None:
    """Print the problems, each with a path relative to the current folder, then their number."""
    if as_json:
        typer.echo(json.dumps({"valid": False, "problems": list(problems)}, indent=2))
        return
    for problem in problems:
        typer.echo(in_folder(path, problem), err=True)
    hidden = problems[-1].removeprefix("... and ").removesuffix(" more")
    count = len(problems) if hidden == problems[-1] else len(problems) - 1 + int(hidden)
    typer.echo(f"{path}: invalid: {count} problem{'s' if count != 1 else ''}", err=True)


def in_folder(path: Path, problem: str) -> str:
    """Return the problem with the path of its file relative to the current folder."""
    file = problem.partition(":")[0]
    return f"{path / file}{problem.removeprefix(file)}" if (path / file).exists() else problem
