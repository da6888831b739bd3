"""`hotsite replica release`: lets go what an older copy of a VM held when it failed over."""

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
    path: Annotated[str, typer.Argument(metavar="PATH", help="Specs: how hosts are reached.")],
    point: Annotated[int | None, typer.Option(
        "--point", metavar="N", show_default=False,
        help="The restore point that is the tail; needed if there are several.")] = None,
    by: By = None,
    state: State = None,
) -> None:
    """Let go what a VM wrote on its old host after the restore point that took over.

    That tail is kept as a restore point of its own, on the VM's former disks, so that
    somebody who misses something can look for it. `hotsite replica show` lists it with its
    owner. Once it is released, retention retires it like any other point.

    Examples: `hotsite replica release sql specs/`,
    `hotsite replica release sql specs/ --point 12`.

    Exit status: 0 done, 1 failed or refused, 4 invalid spec.
    """
    with errors_reported():
        raise typer.Exit(wait_for(release(manager_of(context, state), machine, path, point,
                                          who(by)), interrupted=IN_THE_MIDDLE))


async def release(manager: "Manager", machine: str, path: str, point: int | None, by: str) -> int:
    """Release the tail, print the outcome and return the exit status."""
    from controller.errors import ActionError  # noqa: PLC0415  # keeps --help quick
    from controller.store.journal import Outcome  # noqa: PLC0415

    desired = await manager.load(path)
    store = manager.open_store()
    try:
        attempt = await manager.release(desired, store, machine, point, by)
    except ActionError as error:
        complain(str(error))
        return 1
    finally:
        store.close()
    sentence = fit(attempt.sentence)
    (typer.echo if attempt.outcome is Outcome.DONE else complain)(sentence)
    return 0 if attempt.outcome is Outcome.DONE else 1
