"""`hotsite drill`: starts restore points beside their replicas, and says whether they serve."""

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
from controller.cli.takeover.order import resolve
from controller.cli.view.terminal import fit

if TYPE_CHECKING:
    from controller.model.desired import Desired
    from controller.reconcile.manager import Manager


def command(
    context: typer.Context,
    words: Annotated[list[str], typer.Argument(
        metavar="[VM|GROUP|SITE] PATH", show_default=False,
        help="What is drilled, and the specs: how hosts are reached.")],
    everything: Annotated[bool, typer.Option(
        "--all", help="Every protected VM, each group together.")] = False,
    point: Annotated[str, typer.Option(
        "--point", metavar="N|TIME", show_default=False,
        help="The restore point of one VM by its number, or the newest not younger than an instant;"
        " by default the newest undamaged one.")] = "",
    by: By = None,
    state: State = None,
) -> None:
    """Start newest restore points on the hosts of their replicas, and see whether they serve.

    They run by other names and UUIDs, on a bridge that leads nowhere, until all is seen
    that their policies' `health` wants, or the time is over; then all of it is removed.
    VMs, replicas and copies go on as ever. A group is drilled together, from points of
    one instant, each host by itself; of a site, all is drilled that its loss would leave.

    Examples: `hotsite drill sql specs/`, `hotsite drill sql specs/ --point 12`,
    `hotsite drill paris specs/`, `hotsite drill --all specs/`.

    Exit status: 0 all are proven, 1 one is not, or could not be drilled, 4 invalid spec.
    """
    if len(words) != 2 - everything:
        raise typer.BadParameter(
            "write the specs, and nothing else, after --all" if everything else
            "write what is drilled, and the specs; or --all, and the specs")
    with errors_reported():
        raise typer.Exit(wait_for(drill(manager_of(context, state), words, point, who(by)),
                                  interrupted=IN_THE_MIDDLE))


async def drill(manager: "Manager", words: list[str], point: str, by: str) -> int:
    """Hold the drills, print what came of each and return the exit status."""
    from controller.errors import ActionError  # noqa: PLC0415  # keeps --help quick
    from controller.plan.promotion.point import parse_asked  # noqa: PLC0415

    desired = await manager.load(words[-1])
    target = target_of(words[:-1], desired)
    store = manager.open_store()
    try:
        told = await manager.drill(desired, store, target, parse_asked(point), by)
    except ActionError as error:
        complain(str(error))
        return 1
    finally:
        store.close()
    for sentence, proven in told:
        (typer.echo if proven else complain)(fit(sentence))
    return 0 if all(proven for _, proven in told) else 1


def target_of(words: list[str], desired: "Desired") -> str:
    """Return `Kind/name` of what is drilled; ends the program if that is nothing to drill."""
    if not words:
        return f"Estate/{desired.estate.name}"
    target = resolve(words[0], desired)
    if target.startswith("Host/"):
        complain(f"{words[0]} is a host: a VM, a group or a site is drilled")
        raise typer.Exit(1)
    return target
