"""What an import says at its end: what was written, what is only observed, what comes next."""

from pathlib import Path
from typing import Any

import typer

from controller.adoption.first import three_lines
from controller.adoption.text import printable
from controller.cli.adoption.doctor import tell_findings, to_values
from controller.cli.shared import complain, print_json
from controller.cli.view.paint import Painter, console, table
from controller.cli.view.terminal import fit
from controller.reconcile.importing import Imported, Step

FAILED = {
    Step.READ: "No host could be looked at; nothing was written.",
    Step.VALIDATE: "Step `validate` failed: the specs that were written are not valid. This is a"
                   " mistake of hotsite: report it. Nothing was left behind.",
    Step.PLAN: "Step `plan` failed: the plan on what was written is not empty. This is a mistake"
               " of hotsite: report it. Nothing was left behind.",
}


def tell(result: Imported, out: Path, *, as_json: bool) -> None:
    """Print the outcome: a patch alone on standard output, everything else beside it."""
    if as_json:
        print_json(to_value(result, out))
        return
    painter = Painter(console(stderr=result.patch is not None))
    if result.failed is not None:
        for problem in result.problems:
            complain(problem)
        complain(FAILED[result.failed])
        return
    rows: list[tuple[str, ...]] = [("what", "is only observed", "because")]
    rows += [tuple(printable(cell) for cell in row) for row in dict.fromkeys(
        tuple(one) for one in result.proposal.observed)]
    if len(rows) > 1:
        table(painter, rows)
        painter.line()
    for sentence in result.proposal.unseen:
        painter.line(f"? {sentence}", "magenta")
    if result.patch is not None:
        tell_patch(result.patch, out)
        return
    machines = result.proposal.machines
    painter.line(f"{out} is written: {counted(result.hosts, 'host')},"
                 f" {counted(len(machines), 'VM')}. It is valid, and the plan on it is empty:"
                 " everything is observed and nothing is done.", "green")
    if result.findings:
        painter.line()
        painter.line("What `hotsite doctor` says of these hosts:", "bold")
        tell_findings(painter, result.findings)
    if result.proposal.unseen:
        painter.line("What could not be seen is not in it: run the same command again, and take up"
                     " the patch that it proposes.", "magenta")
    tell_next(painter, result, out)


def tell_patch(patch: str, out: Path) -> None:
    """Print the patch, and what to do with it."""
    if not patch:
        complain(f"{out} has all of it already: nothing is new.")
        return
    typer.echo(fit(patch), nl=False)
    complain(f"{out} is left as it is. What is new is the patch above; with it the specs are valid"
             f" and the plan is empty. To take it up: `hotsite import ... | patch -p1 -d {out}`.")


def tell_next(painter: Painter, result: Imported, out: Path) -> None:
    """Print the lines to change for the first protected VM."""
    sites = len(result.proposal.documents.get("sites.yaml", ()))
    lines = three_lines(result.proposal.machines, sites)
    if not lines:
        return
    painter.line()
    painter.line("For the first protected VM, three lines, then"
                 f" `hotsite plan {out}` shows what they do:", "bold")
    for line in lines:
        painter.line(f"  {line}")


def counted(number: int, word: str) -> str:
    """Return `1 host` or `3 hosts`."""
    return f"{number} {word}{'s' * (number != 1)}"


def to_value(result: Imported, out: Path) -> dict[str, Any]:
    """Return the outcome as plain values."""
    written = result.failed is None and result.patch is None
    return {
        "folder": str(out), "written": written, "hosts": result.hosts,
        "machines": [one.name for one in result.proposal.machines],
        "observed": [one._asdict() for one in result.proposal.observed],
        "unseen": result.proposal.unseen, "failed": result.failed, "problems": result.problems,
        "patch": result.patch, "findings": to_values(result.findings),
        "exit": result.status.value,
    }
