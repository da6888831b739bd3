"""`hotsite replica export`: writes a restore point as standalone files."""

from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.shared import (
    IN_THE_MIDDLE,
    By,
    State,
    complain,
    errors_reported,
    manager_of,
    wait_for,
    who,
)
from controller.cli.view.terminal import fit

if TYPE_CHECKING:
    from controller.reconcile.manager import Manager


def command(
    context: typer.Context,
    machine: Annotated[str, typer.Argument(metavar="VM", help="The VM's name.")],
    folder: Annotated[str, typer.Argument(
        metavar="FOLDER", help="A folder on the host that holds the replica.")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="Specs: how hosts are reached.")],
    point: Annotated[int | None, typer.Option(
        "--point", metavar="N", show_default=False,
        help="The restore point; by default the newest undamaged one.")] = None,
    damaged: Annotated[bool, typer.Option(
        "--damaged", help="Export the point even if parts of it are damaged.")] = False,
    by: By = None,
    state: State = None,
) -> None:
    """Write a restore point as standalone qcow2 files, with its definition.

    The files are written into a folder of the host that holds the replica; no file
    is ever overwritten. The replica stays as it is, and replication goes on meanwhile.

    Examples: `hotsite replica export sql /srv/restore specs/`,
    `hotsite replica export sql /srv/restore specs/ --point 12`.

    Exit status: 0 done, 1 failed or refused, 4 invalid spec.
    """
    with errors_reported():
        raise typer.Exit(wait_for(export(
            manager_of(context, state), (machine, folder, path), point, who(by),
            damaged=damaged), interrupted=IN_THE_MIDDLE))


async def export(manager: "Manager", words: tuple[str, str, str], point: int | None, by: str, *,
                 damaged: bool) -> int:
    """Export the point, print the outcome and return the exit status."""
    from controller.errors import ActionError  # noqa: PLC0415  # keeps --help quick
    from controller.store.journal import Outcome  # noqa: PLC0415

    machine, folder, path = words
    desired = await manager.load(path)
    store = manager.open_store()
    try:
        attempt = await manager.export(desired, store, machine, folder, point, by,
                                       damaged=damaged)
    except ActionError as error:
        complain(str(error))
        return 1
    finally:
        store.close()
    sentence = fit(attempt.sentence)
    (typer.echo if attempt.outcome is Outcome.DONE else complain)(sentence)
    return 0 if attempt.outcome is Outcome.DONE else 1
