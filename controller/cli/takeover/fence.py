"""`hotsite fence`: cuts the power of one host by its BMC, and proves that it is off."""

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

if TYPE_CHECKING:
    from controller.reconcile.fence import BeforeFence
    from controller.reconcile.inspect.loop_status import LoopStatus
    from controller.reconcile.manager import Manager


def command(
    context: typer.Context,
    host: Annotated[str, typer.Argument(metavar="HOST", help="The host.")],
    path: Annotated[str | None, typer.Argument(
        metavar="[PATH]", show_default=False,
        help="Specs; by default those of the running loop.")] = None,
    why: Annotated[str, typer.Option("--why", metavar="TEXT",
                                     help="Written into the journal.")] = "",
    dry_run: Annotated[bool, typer.Option(
        "--dry-run", help="Only say what its BMC reads, and what would end.")] = False,
    again: Annotated[str | None, typer.Option(
        "--name-again", metavar="NAME", show_default=False,
        help="The host's name once more, where it answers; asked for otherwise.")] = None,
    by: By = None,
    state: State = None,
) -> None:
    """Cut the power of a host by its BMC, and read it until it is proven off.

    What runs there ends at once, as if the cord were pulled; a minute is the limit. It is done from
    here, whether a loop runs or not. A BMC that may be another machine's cuts nothing.

    Examples: `hotsite fence paris-1 --why "it hangs"`, `hotsite fence paris-1 --dry-run`,
    `hotsite fence paris-1 specs/`.

    Exit status: 0 it is off, 1 it is not proven off or there is no such host, 3 its BMC must not or
    cannot be used, 4 invalid spec, 5 no specs are named and no loop runs here.
    """
    with errors_reported():
        manager = manager_of(context, state)
        where = path or loop_specs(loop_of(manager))
        raise typer.Exit(wait_for(fence(manager, (host, where), (who(by), why), again,
                                        dry_run=dry_run), interrupted=IN_THE_MIDDLE))


def loop_of(manager: "Manager") -> "LoopStatus | None":
    """Return the status of the running loop; None if none runs."""
    from controller.reconcile.inspect.loop_status import read_status  # noqa: PLC0415  # slow

    status = read_status(manager) if manager.state.exists() else None
    return status if status is not None and status.alive else None


def loop_specs(loop: "LoopStatus | None") -> str:
    """Return where the specs of the running loop are; ends the program if none runs."""
    if loop is None or loop.where is None:
        complain("no loop runs with this state folder: name the specs, as in `hotsite fence HOST"
                 " specs/`")
        raise typer.Exit(5)
    return loop.where


async def fence(manager: "Manager", words: tuple[str, str], order: tuple[str, str],
                again: str | None, *, dry_run: bool) -> int:
    """Look, ask again if the host is well, cut the power, and return the exit status."""
    from controller.store.journal import Outcome  # noqa: PLC0415  # keeps --help quick

    loop = loop_of(manager)
    host, where = words
    desired = await manager.load(where)
    if host not in desired.hosts:
        complain(f"there is no host {host}; there are {', '.join(sorted(desired.hosts))}")
        return 1
    if desired.hosts[host].spec.bmc is None:
        complain(f"Host/{host} declares no BMC: cut its power by hand, then say so with `hotsite"
                 f" confirm-fenced {host}`")
        return 3
    refusal = "" if loop is None else refused_before(loop, host)
    if refusal:
        complain(f"{host} is not fenced, and nothing is tried: {refusal}")
        return 3
    store = manager.open_store(exclusive=loop is None)
    try:
        async with manager.fence_by_hand(desired, store) as by_hand:
            seen = await by_hand.look(host)
            tell(host, seen)
            if seen.objection:
                complain(f"{host} is not fenced: {seen.objection}")
                return 3
            if dry_run:
                typer.echo(f"its BMC would be told to cut the power of {host}; nothing is done")
                return 0
            if seen.answers and not is_meant(host, again):
                complain(f"that is not {host}: nothing is done")
                return 1
            attempt = await by_hand.run(host, *order)
    finally:
        store.close()
    if attempt.outcome is Outcome.DONE:
        typer.echo(attempt.sentence)
        return 0
    complain(attempt.sentence)
    return 1


def refused_before(loop: "LoopStatus", host: str) -> str:
    """Return why the BMC refused the running loop, if it did: each try may lock an account."""
    from controller.model.condition import ConditionType  # noqa: PLC0415  # keeps --help quick

    return next((one.message for one in loop.conditions
                 if (one.target, one.type) == (f"Host/{host}", ConditionType.FENCEABLE)
                 and one.reason == "Refused"), "")


def tell(host: str, seen: "BeforeFence") -> None:
    """Print what was seen of a host."""
    guests = ", ".join(seen.guests) or "no VM"
    typer.echo(f"{host} answers, and runs {guests}" if seen.answers else
               f"{host} does not answer; when it was last seen it ran {guests}")
    if seen.bmc != seen.objection:
        typer.echo(seen.bmc)


def is_meant(host: str, again: str | None) -> bool:
    """Return whether a person typed the name of a host that is well once more."""
    return host == (again if again is not None else typer.prompt(
        f"{host} answers, and what it runs would end. Type its name again"))
