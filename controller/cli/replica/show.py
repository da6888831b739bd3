"""`hotsite replica show`: shows one VM's restore points."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.shared import Json, State, complain, errors_reported, manager_of, print_json

if TYPE_CHECKING:
    from controller.reconcile.inspect.loop_status import LoopStatus

Machine = Annotated[str, typer.Argument(metavar="VM", help="The VM's name.")]


def command(context: typer.Context, machine: Machine, as_json: Json = False,
            state: State = None) -> None:
    """Show every restore point of one VM, newest last, with what is wrong with it.

    It reads what the loop or `apply` saw last and contacts nothing. The age of a point counts from
    the start of its copy.

    Examples: `hotsite replica show sql`, `hotsite replica show sql --json`.

    Exit status: 0 shown, 1 no replica of this VM was ever seen.
    """
    from controller.reconcile.inspect.loop_status import read_status  # noqa: PLC0415  # slow

    with errors_reported(as_json=as_json):
        loop_status = read_status(manager_of(context, state))
        found = replicas(loop_status, machine)
        if not found:
            complain(f"no replica of {machine} was ever seen: see `hotsite replica list`")
            raise typer.Exit(1)
        if as_json:
            print_json(found)
        else:
            show(found, loop_status, machine)


def replicas(loop_status: "LoopStatus", machine: str) -> list[dict[str, Any]]:
    """Return the VM's replicas as JSON, by host."""
    from controller.reconcile.inspect.inventory import (  # noqa: PLC0415
        age_of,
        freshness,
        health,
        value_of,
    )

    found = []
    for node, seen in sorted(loop_status.seen.items()):
        for uuid, one in sorted((value_of(seen.facts.replicas) or {}).items()):
            if machine in {one.machine, uuid}:
                found.append({
                    "name": one.machine, "uuid": uuid, "host": node, "path": one.path,
                    "health": health(one), "unreadable": one.unreadable,
                    "lost_files": list(one.lost_files), "pins": dict(one.pins),
                    "epoch": one.epoch, "promoted_point": one.promoted,
                    "disks": {disk: {"size_bytes": size} for disk, size in one.disks.items()},
                    "incoming": [{"disk": part.disk, "arrived_bytes": part.arrived_bytes,
                                  "size_bytes": part.size_bytes} for part in one.incoming],
                    "compared_age_s": age_of(one.compared_at, loop_status.now_s),
                    "points": [point(each, loop_status.now_s) for each in one.points],
                    **freshness(loop_status, node, seen)})
    return found


def point(facts: Any, now_s: float) -> dict[str, Any]:
    """Return one restore point as a row."""
    from controller.reconcile.inspect.inventory import age_of  # noqa: PLC0415

    return {"point": facts.sequence, "age_s": max(0.0, now_s - facts.started_at),
            "took_age_s": max(0.0, facts.committed_at - facts.started_at),
            "stored_bytes": facts.stored_bytes,
            "quiesced": "yes" if facts.quiesced else "no",
            "damaged": facts.damaged_clusters,
            "verified_age_s": age_of(facts.verified_at, now_s),
            **({"tail": {"kept_by": facts.kept_by, "kept_until": facts.kept_until}}
               if facts.diverged else {})}


def describe_epoch(one: dict[str, Any], now_s: float) -> list[str]:
    """Return what a replica has to do with failovers: which VM it follows, and its tails."""
    from controller.model.units import render_duration  # noqa: PLC0415  # keeps --help quick

    lines = []
    if one["promoted_point"] is not None:
        lines.append(f"point {one['promoted_point']} is the VM since it failed over, epoch"
                     f" {one['epoch']}")
    elif one["epoch"]:
        lines.append(f"of the VM with epoch {one['epoch']}")
    for row in one["points"]:
        if "tail" in row:
            until_s = row["tail"]["kept_until"]
            left = "" if until_s is None else (
                f", {render_duration(until_s - now_s)} more" if until_s > now_s
                else f", which ended {render_duration(now_s - until_s)} ago")
            lines.append(f"point {row['point']} is what an older copy held at its end: kept for"
                         f" {row['tail']['kept_by'] or 'nobody'}{left}, never taken for a failover;"
                         f" `hotsite replica release {one['name']} SPECS --point {row['point']}`"
                         " lets it go")
    return lines


def show(found: list[dict[str, Any]], loop_status: "LoopStatus", machine: str) -> None:
    """Print replicas and their points."""
    from controller.cli.get import cell  # noqa: PLC0415
    from controller.cli.view.paint import Painter, console, table  # noqa: PLC0415
    from controller.model.units import render_duration, render_size  # noqa: PLC0415

    painter = Painter(console())
    for one in found:
        age = render_duration(one["age_s"])
        disks = ", ".join(f"{name} {render_size(disk['size_bytes'])}"
                          for name, disk in one["disks"].items())
        painter.line(f"{one['name'] or one['uuid']} on {one['host']}: {one['health']}"
                     f" ({one['seen']}, {age} ago)", "bold")
        painter.line(f"  {one['path']}: {disks or 'no disk yet'}")
        if one["compared_age_s"] is not None:
            painter.line("  compared with its source as a whole"
                         f" {render_duration(one['compared_age_s'])} ago")
        for part in one["incoming"]:
            painter.line(f"  being copied: {part['disk']},"
                         f" {render_size(part['arrived_bytes'])} received")
        for line in (one["unreadable"], *(f"lost: {name}" for name in one["lost_files"]),
                     *(f"pinned by {who}: point {number}" for who, number in one["pins"].items())):
            if line:
                painter.line(f"  {line}", "red")
        for line in describe_epoch(one, loop_status.now_s):
            painter.line(f"  {line}", "yellow")
        if one["points"]:
            heads = ("point", "age", "took", "stored", "quiesced", "damaged", "verified ago")
            cells = [tuple(cell(key, value) for key, value in row.items() if key != "tail")
                     for row in one["points"]]
            table(painter, [heads, *cells],
                  tuple("red" if row["damaged"] else "" for row in one["points"]))
    for condition in loop_status.conditions:
        if condition.target == f"VirtualMachine/{machine}" and condition.type in {
                "Protected", "Fresh", "Verified"}:
            painter.line(f"{condition.type} is {condition.status}: {condition.message}",
                         "" if condition.status == "true" else "red")
