"""`hotsite drill`: starts a restore point beside its replica, and says whether it serves."""

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
        help="The restore point; by default the newest undamaged one.")] = None,
    by: By = None,
    state: State = None,
) -> None:
    """Start a VM's newest restore point on the host of its replica, and see whether it serves.

    It runs by another name and UUID, on a bridge that leads nowhere, until all is seen
    that its policy's `health` wants, or the time is over; then all of it is removed. The
    VM, its replica and its copies go on as ever.

    Examples: `hotsite drill sql specs/`, `hotsite drill sql specs/ --point 12`.

    Exit status: 0 it is proven, 1 it is not, or could not be drilled, 4 invalid spec.
    """
    with errors_reported():
        raise typer.Exit(wait_for(drill(manager_of(context, state), machine, path, point, who(by)),
                                  interrupted=IN_THE_MIDDLE))


async def drill(manager: "Manager", machine: str, path: str, point: int | None, by: str) -> int:
    """Hold the drill, print what came of it and return the exit status."""
    from controller.errors import ActionError  # noqa: PLC0415  # keeps --help quick

    desired = await manager.load(path)
    store = manager.open_store()
    try:
        sentence, proven = await manager.drill(desired, store, machine, point, by)
    except ActionError as error:
        complain(str(error))
        return 1
    finally:
        store.close()
    (typer.echo if proven else complain)(fit(sentence))
    return 0 if proven else 1
