"""A request about one replica: handed to the running loop, or done at once if none runs."""

import time
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
    from controller.plan.survey.context import ReplicaRequest, RequestKind
    from controller.reconcile.manager import Manager
    from controller.store.store import Store

PAUSE_S = 0.3
BEGUN_WITHIN_S = 30.0
Machine = Annotated[str, typer.Argument(metavar="VM", help="The VM's name.")]
Path = Annotated[str | None, typer.Argument(
    metavar="[PATH]", show_default=False,
    help="Specs, if no loop runs: it is then done from here.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it has ended.")]

__all__ = ["By", "Machine", "Path", "State", "Wait", "ask"]


def ask(context: typer.Context, kind: "RequestKind", machine: str, path: str | None,
        by: str | None, state: State, *, wait: bool) -> None:
    """Request `kind` for the replica of `machine`, and exit with the status of its outcome."""
    from controller.plan.survey.context import ReplicaRequest  # noqa: PLC0415  # keeps --help quick

    with errors_reported():
        manager = manager_of(context, state)
        request = ReplicaRequest(machine, kind, who(by), manager.clock())
        if path is None:
            raise typer.Exit(by_the_loop(manager, request, wait=wait))
        raise typer.Exit(wait_for(from_here(manager, path, request),
                                 interrupted=IN_THE_MIDDLE))


def by_the_loop(manager: "Manager", request: "ReplicaRequest", *, wait: bool) -> int:
    """Hand the request to the running loop, follow it, and return the exit status."""
    from controller.cli.view.declared import unknown_target  # noqa: PLC0415
    from controller.reconcile.ask.ask import request as ask_loop  # noqa: PLC0415
    from controller.reconcile.inspect.loop_status import read_status  # noqa: PLC0415

    if not read_status(manager).alive:
        complain("no loop runs with this state folder: start `hotsite run`, or name the specs:"
                 f" `hotsite replica {request.kind} {request.machine} specs/`")
        return 5
    wrong = unknown_target(manager, f"VirtualMachine/{request.machine}")
    if wrong is not None:
        complain(wrong)
        return 1
    store = manager.open_store()
    try:
        newest = max((row.id for row in store.events(1)), default=0)
        ask_loop(store, request.machine, request.kind, request.by, request.at)
        if not wait:
            typer.echo(f"the loop is asked to {request.kind} the replica of {request.machine}")
            return 0
        return follow(store, request, newest)
    finally:
        store.close()


def follow(store: "Store", request: "ReplicaRequest", newest: int) -> int:
    """Print what the loop does about the replica until an action that serves the request ends."""
    from controller.cli.view.log import describe_row  # noqa: PLC0415
    from controller.store.journal import SERVES  # noqa: PLC0415

    machine = request.machine
    until = time.monotonic() + BEGUN_WITHIN_S
    while True:
        rows = store.events(1000, target=f"Replica/{machine}", after=newest)
        for row in rows:
            newest = max(newest, row.id)
            if row.cause == "human":
                until = float("inf")
                typer.echo(describe_row(row))
                if row.outcome and request.kind in SERVES.get(row.verb, ()):
                    return 0 if row.outcome == "done" else 1
                if row.outcome:     # it serves another request, or comes before this one
                    until = time.monotonic() + BEGUN_WITHIN_S
        if time.monotonic() > until:
            complain(f"the loop has not begun within {BEGUN_WITHIN_S:g} s. The request stays for an"
                     f" hour; why it waits: `hotsite explain VirtualMachine/{machine}`")
            return 2
        time.sleep(PAUSE_S)


async def from_here(manager: "Manager", path: str, request: "ReplicaRequest") -> int:
    """Do what is requested once, from here, for this replica alone; return the exit status."""
    from controller.cli.apply import tell_progress  # noqa: PLC0415

    desired = await manager.load(path)
    if request.machine not in desired.virtual_machines:
        complain(f"{path} declares no VM {request.machine}")
        return 1
    store = manager.open_store(exclusive=True)
    try:
        store.request(request)
        async with manager.once(desired, store) as once:
            await once.plan(desired)
            once.listeners.append(tell_progress)
            result = await once.run(granted_by=request.by, about=f"Replica/{request.machine}")
        for _, sentence in result.failed.values():
            complain(sentence)
        if not result.done and not result.failed:
            held = [step.ruling.sentence or step.action.reason for step in result.plan.steps
                    if step.action.target == f"Replica/{request.machine}"]
            held += [one.sentence for one in result.plan.remarks
                     if one.target.partition("/")[2] == request.machine]
            complain(held[0] if held else f"there is nothing to do for {request.machine}:"
                     " has it a `protection`?")
            store.withdraw(request)
        return 1 if result.failed else 0 if result.done else 3
    finally:
        store.close()
