"""`hotsite explain`: the whole chain from the line of the spec to the last action."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.shared import (
    Json,
    State,
    complain,
    errors_reported,
    manager_of,
    print_json,
    wait_for,
)

if TYPE_CHECKING:
    from controller.model.desired import Desired
    from controller.reconcile.inspect.loop_status import LoopStatus
    from controller.reconcile.manager import Manager

LAST = 8


def command(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="KIND/NAME", help="Such as Host/paris-1.")],
    as_json: Json = False,
    state: State = None,
) -> None:
    """Show why an object is as it is: spec, facts, differences, gates, conditions, last actions.

    It reads the specs and the notes of the loop, and contacts no host.

    Examples: `hotsite explain VirtualMachine/sql`, `hotsite explain Switch/paris-sw`.

    Exit status: 0 explained, 1 nothing of this name is declared, seen or in the journal.
    """
    from controller.reconcile.inspect.loop_status import read_status  # noqa: PLC0415  # slow

    with errors_reported(as_json=as_json):
        manager = manager_of(context, state)
        chain = explain(manager, read_status(manager), target)
        if not any(chain[key] for key in ("declared", "seen", "differs", "conditions", "last")):
            complain(f"{target} is neither declared nor seen: write Kind/name, such as"
                     " VirtualMachine/sql, and see `hotsite get vms`")
            raise typer.Exit(1)
        if as_json:
            print_json(chain)
        else:
            show(chain)


def explain(manager: "Manager", loop_status: "LoopStatus", target: str) -> dict[str, Any]:
    """Return the chain as JSON: lists of sentences, by link of the chain."""
    kind, _, name = target.partition("/")
    desired, unread = load(manager, loop_status)
    waiting = ((loop_status.heartbeat or {}).get("waiting") or {}).get(target)
    steps = [step for step in loop_status.steps if step["target"] == target]
    return {
        "target": target,
        "declared": [unread] if desired is None and unread else declared(
            desired, loop_status, target),
        "seen": seen(loop_status, kind, called(desired, kind, name)),
        "differs": [f"{step['symbol']} {step['verb']} on {step['nodes'][0]}: {step['reason']}"
                    f" ({step['cause']})" for step in steps]
        + [one["sentence"] for one in loop_status.remarks if one["target"] == target],
        "gates": [held(step) for step in steps if step["ruling"]["verdict"] != "allowed"]
        + [f"suspended by {one.by}: {one.why}" for one in loop_status.suspensions
           if one.target == target],
        "waits": [f"{waiting['standing']}: {waiting['why']}"] if waiting else [],
        "conditions": [f"{one.type} is {one.status} ({one.reason}): {one.message}"
                       for one in loop_status.conditions if one.target == target],
        "last": last(manager, target),
    }


def load(manager: "Manager", loop_status: "LoopStatus") -> "tuple[Desired | None, str]":
    """Return the specs that the loop follows, or None and why they cannot be read."""
    from controller.errors import HotsiteError  # noqa: PLC0415

    if loop_status.where is None:
        return None, ""
    try:
        return wait_for(manager.load(loop_status.where)), ""
    except HotsiteError as error:
        why = str(error).splitlines()[0]
        return None, f"the specs at {loop_status.where} cannot be read now: {why}"


def called(desired: "Desired | None", kind: str, name: str) -> str:
    """Return what a node calls an object: libvirt has names of its own for VMs."""
    vm = None if desired is None or kind != "VirtualMachine" else desired.virtual_machines.get(name)
    return name if vm is None else vm.libvirt_name


def declared(desired: "Desired | None", loop_status: "LoopStatus", target: str) -> list[str]:
    """Return where the object is declared, and at which revision."""
    if desired is None:
        return []
    place = desired.places.get(target)
    if place is None:
        return []
    in_force = (loop_status.heartbeat or {}).get("revision")
    note = "" if in_force == desired.revision else f"; the loop still uses {in_force}"
    return [f"{place} at revision {desired.revision}{note}"]


def seen(loop_status: "LoopStatus", kind: str, name: str) -> list[str]:
    """Return what was last seen of the object, with its age."""
    from controller.model.units import render_duration, render_size  # noqa: PLC0415
    from controller.reconcile.inspect.inventory import ROWS  # noqa: PLC0415

    found = []
    word = {"VirtualMachine": "vm", "Host": "host", "Switch": "switch"}.get(kind)
    for row in ROWS[word](loop_status) if word else ():
        if row["name"] == name:
            words = [f"{key.removesuffix('_bytes')} "
                     f"{render_size(value) if key.endswith('_bytes') and value else value}"
                     for key, value in row.items() if key not in {"name", "seen", "age_s"}]
            age = render_duration(row["age_s"])
            found.append(f"{', '.join(words)} ({row['seen']}, {age} ago)")
    return found


def held(step: dict[str, Any]) -> str:
    """Return which gate holds a step back, why, and what clears it."""
    ruling = step["ruling"]
    clears = f"; {ruling['clears']}" if ruling["clears"] else ""
    return f"{step['verb']} {ruling['verdict']} ({ruling['rule']}): {ruling['sentence']}{clears}"


def last(manager: "Manager", target: str) -> list[str]:
    """Return the last lines of the journal about the object."""
    from controller.cli.view.log import describe_row  # noqa: PLC0415

    store = manager.open_store()
    try:
        return [describe_row(row) for row in store.events(LAST, target=target)]
    finally:
        store.close()


def show(chain: dict[str, Any]) -> None:
    """Print the chain."""
    from rich.text import Text  # noqa: PLC0415

    from controller.cli.view.paint import AMBER, Painter, console  # noqa: PLC0415

    painter = Painter(console())
    painter.line(chain["target"], "bold")
    for key in ("declared", "seen", "differs", "gates", "waits", "conditions", "last"):
        for number, sentence in enumerate(chain[key]):
            head = Text(f"{key if number == 0 else '':<12}", "bold")
            painter.sentence(head, sentence, AMBER if key == "gates" else "", " " * 12)
