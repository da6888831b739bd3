"""An order to fail over or to go back: resolved, handed to the running loop, and followed."""

import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from controller.cli.shared import By, State, complain, errors_reported, manager_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.model.desired import Desired
    from controller.plan.survey.context import FailoverRequest
    from controller.reconcile.manager import Manager

PAUSE_S: Final = 0.3
BEGUN_WITHIN_S: Final = 60.0
ENDS: Final = {"led-elsewhere": 0, "returning": 0, "reversing": 0, "protected-reversed": 0,
               "awaiting-human": 3, "split": 1}
"""By phase in which nothing more happens without a person: the exit status."""
MOVES: Final = "moving-back"
NOT_BEGUN: Final = frozenset({"suspected", "agreed", "calm"})
Target = Annotated[str, typer.Argument(
    metavar="SITE|HOST|VM|GROUP", help="By its name, or as `Kind/name` where two have one name.")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="Written into the record.")]
Again = Annotated[str | None, typer.Option(
    "--name-again", metavar="NAME", show_default=False,
    help="The name once more, where something well is to be moved; asked for otherwise.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it has ended.")]

__all__ = ["Again", "By", "State", "Target", "Wait", "Why", "order"]


def order(context: typer.Context, request: "FailoverRequest", state: State, again: str | None, *,
          wait: bool) -> None:
    """Hand an order to the running loop, and exit with the status of what comes of it."""
    from dataclasses import replace  # noqa: PLC0415  # keeps --help quick

    with errors_reported():
        manager = manager_of(context, state)
        desired = specs_of(manager, request.target)
        request = replace(request, target=resolve(request.target, desired), at=manager.clock())
        if request.planned:
            ask_again(request.target.partition("/")[2], again)
        store = manager.open_store()
        try:
            newest = max((row.id for row in store.events(1)), default=0)
            store.order_failover(request)
            store.note("ordered", request.target, f"{'move' if request.planned else 'failover'}"
                       f" ordered by {request.by}: {request.why or 'no reason given'}",
                       manager.clock())
        finally:
            store.close()
        if not wait:
            typer.echo(f"the loop is asked: `hotsite status` shows how far {request.target} is")
            raise typer.Exit(0)
        raise typer.Exit(follow(manager, request, newest))


def specs_of(manager: "Manager", name: str = "") -> "Desired":
    """Return the specs that the running loop follows; ends the program if none runs.

    Shapes: a `name` is judged even then, by the specs that the last loop followed.
    """
    import asyncio  # noqa: PLC0415
    from contextlib import suppress  # noqa: PLC0415

    from controller.errors import SourceUnavailable, SpecError  # noqa: PLC0415
    from controller.reconcile.inspect.loop_status import read_status  # noqa: PLC0415

    loop_status = read_status(manager)
    if not loop_status.alive or loop_status.where is None:
        if name and loop_status.where is not None:
            with suppress(SpecError, SourceUnavailable):    # then no name is known
                resolve(name, asyncio.run(manager.load(loop_status.where)))
        complain("no loop runs with this state folder: start `hotsite run` on a machine that"
                 " reaches the survivors; it needs no state of the lost one, and the order is given"
                 " to it")
        raise typer.Exit(5)
    return asyncio.run(manager.load(loop_status.where))


def named(desired: "Desired") -> "Mapping[str, tuple[str, ...]]":
    """Return, by kind, the names that can fail over."""
    groups = {vm.spec.group for vm in desired.virtual_machines.values()}
    return {"Site": tuple(desired.sites), "Host": tuple(desired.hosts),
            "VirtualMachine": tuple(desired.virtual_machines),
            "Group": tuple(sorted(group for group in groups if group is not None))}


def resolve(text: str, desired: "Desired") -> str:
    """Return `Kind/name` of what a person named; ends the program if that is none, or several."""
    from difflib import get_close_matches  # noqa: PLC0415

    known = [f"{kind}/{name}" for kind, names in named(desired).items() for name in names]
    found = [one for one in known if text in {one, one.partition("/")[2]}]
    if len(found) == 1:
        return found[0]
    if found:
        complain(f"{text} is several things: write {' or '.join(found)}")
    else:
        close = get_close_matches(text, [one.partition("/")[2] for one in known], n=3)
        complain(f"no site, host, VM or group is named {text}"
                 + (f": did you mean {' or '.join(close)}?" if close else ""))
    raise typer.Exit(1)


def ask_again(name: str, again: str | None) -> None:
    """End the program unless the name is typed once more: what is well is to be moved."""
    if again is None:
        again = typer.prompt(f"{name} is well and is to be moved. Type its name again")
    if again != name:
        complain(f"{again!r} is not {name}: nothing is ordered")
        raise typer.Exit(1)


def follow(manager: "Manager", request: "FailoverRequest", newest: int) -> int:
    """Print how it goes on until it needs nobody, or a person; return the exit status."""
    from controller.reconcile.inspect.loop_status import read_status  # noqa: PLC0415

    until, said = time.monotonic() + BEGUN_WITHIN_S, list[str]()
    begun = False
    while True:
        status = read_status(manager)
        newest = tell_outcomes(manager, newest)
        mine = [one for one in status.failovers
                if concerns(one["scope"], request.target, status.failovers)]
        for one in mine:
            tell_phase(one, said)
            begun = begun or (one["phase"] == MOVES if request.planned
                              else one["phase"] not in NOT_BEGUN)
            if (code := ended(one, request, begun=begun)) is not None:
                return code
        if request.planned and begun and not mine:
            return 0
        if not status.alive:
            complain("the loop has ended: another controller goes on from the survivors' record")
            return 5
        if not begun and time.monotonic() > until:
            complain(f"nothing has begun within {BEGUN_WITHIN_S:g} s; the order stays for an hour,"
                     " and `hotsite status` shows what it waits for")
            return 2
        time.sleep(PAUSE_S)


def tell_phase(one: dict[str, Any], said: list[str]) -> None:
    """Print where a failover stands, if that is new."""
    lines = [f"{one['scope']} {one['phase']}: {one['sentence']}",
             *(f"  {sentence}" for sentence in one["waiting"])]
    for line in lines:
        if line not in said:
            said.append(line)
            typer.echo(line)


def ended(one: dict[str, Any], request: "FailoverRequest", *, begun: bool) -> int | None:
    """Return the exit status once nothing more comes of an order by itself; None before."""
    phase = one["phase"]
    if phase == "calm" and one["waits_for"]:
        return 3    # it is refused, and the sentence says why
    if request.planned:
        back = begun and phase not in {MOVES, "calm"}
        return 1 if back else None      # a move failed, and what is left stays where it was
    return ENDS.get(phase) if begun or phase == "awaiting-human" else None


def tell_outcomes(manager: "Manager", newest: int) -> int:
    """Print what was done since event `newest`, and return the id of the last event."""
    from controller.cli.view.log import describe_row  # noqa: PLC0415

    store = manager.open_store()
    try:
        rows = store.events(1000, after=newest)
    finally:
        store.close()
    for row in rows:
        if row.kind == "outcome":
            typer.echo(describe_row(row))
    return max((row.id for row in rows), default=newest)


def concerns(scope: str, target: str, failovers: list[dict[str, Any]]) -> bool:
    """Return whether a failover is that of an order; where there is one alone, it is."""
    return scope == target or len(failovers) == 1 or not target.startswith(("Site/", "Host/"))
