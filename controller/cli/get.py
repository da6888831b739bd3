"""`hotsite get`: facts as they were last seen, each with its age."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from controller.cli.shared import Json, State, complain, errors_reported, manager_of, print_json

if TYPE_CHECKING:
    from controller.reconcile.inspect.loop_status import LoopStatus

KINDS: Final = {
    "host": "host", "hosts": "host", "switch": "switch", "switches": "switch",
    "vm": "vm", "vms": "vm", "virtualmachine": "vm", "virtualmachines": "vm",
    "pool": "pool", "pools": "pool", "port": "port", "ports": "port",
    "replica": "replica", "replicas": "replica",
}


def command(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(
        metavar="KIND", help="host, switch, vm, pool, port or replica.")],
    name: Annotated[str | None, typer.Argument(
        metavar="[NAME]", show_default=False, help="Only this one.")] = None,
    as_json: Json = False,
    state: State = None,
) -> None:
    """Show what was last seen of hosts, switches, VMs, pools, ports or replicas, with its age.

    It reads what the loop or `apply` saw last and contacts nothing. The column `seen` says `now`
    where the node still answers, and `before` where it does not.

    Examples: `hotsite get hosts`, `hotsite get vm sql`, `hotsite get ports --json`.

    Exit status: 0 shown, 1 nothing of this kind or name was seen.
    """
    from controller.reconcile.inspect.loop_status import read_status  # noqa: PLC0415  # slow

    with errors_reported(as_json=as_json):
        if kind.lower() not in KINDS:
            complain(f"{kind} is not a kind that get knows:"
                     " use host, switch, vm, pool, port or replica")
            raise typer.Exit(1)
        loop_status = read_status(manager_of(context, state))
        found = [row for row in rows(loop_status, KINDS[kind.lower()])
                 if name in {None, row["name"]}]
        if not found:
            complain(f"no {kind}{f' {name}' if name else ''} was ever seen with this state folder")
            raise typer.Exit(1)
        if as_json:
            print_json(found)
        else:
            show(found)


def show(found: list[dict[str, Any]]) -> None:
    """Print rows as a table."""
    from controller.cli.view.paint import Painter, console, table  # noqa: PLC0415

    heads = tuple(key.removesuffix("_bytes").removesuffix("_s") for key in found[0])
    cells = [tuple(cell(key, value) for key, value in row.items()) for row in found]
    styles = tuple("magenta" if row["seen"] != "now" else "" for row in found)
    table(Painter(console()), [heads, *cells], styles)


def cell(key: str, value: Any) -> str:
    """Return one value as people read it; a value that was never seen is a question mark."""
    from controller.model.units import render_duration, render_size  # noqa: PLC0415

    if value is None:
        return "?"
    if key.endswith("_bytes"):
        return render_size(value)
    return render_duration(value) if key.endswith("age_s") else str(value)


def rows(loop_status: "LoopStatus", kind: str) -> list[dict[str, Any]]:
    """Return every thing of `kind` that was seen, by name and place."""
    from controller.reconcile.inspect.inventory import ROWS  # noqa: PLC0415

    return sorted(ROWS[kind](loop_status), key=lambda row: (row["name"], str(row.get("host", ""))))
