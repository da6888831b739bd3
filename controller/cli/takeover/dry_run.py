"""The runbook of a failover, without ordering it: who comes back where, from which point, and when.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from controller.cli.shared import errors_reported, manager_of, print_json, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from controller.model.desired import Desired
    from controller.plan.steps.plan import Plan
    from controller.plan.steps.takeover import Takeover


def show_runbook(context: typer.Context, target: str, state: "Path | None", point: str = "", *,
                 as_json: bool) -> None:
    """Look at every node, print the runbook, and exit: 0 all come back, 3 some wait, 5 unknown."""
    from controller.cli.plan import look  # noqa: PLC0415  # keeps --help quick
    from controller.cli.takeover.order import resolve, specs_of  # noqa: PLC0415
    from controller.plan.output.render import takeover_to_dict  # noqa: PLC0415
    from controller.plan.output.runbook import render_runbook  # noqa: PLC0415
    from controller.plan.steps.takeover import Outcome  # noqa: PLC0415
    from controller.plan.survey.context import FailoverRequest  # noqa: PLC0415
    from controller.reconcile.inspect.loop_status import read_status  # noqa: PLC0415

    with errors_reported(as_json=as_json):
        manager = manager_of(context, state)
        desired = specs_of(manager, target)
        found = resolve(target, desired)
        order = FailoverRequest(found, "", "", manager.clock(), point=point)
        plan, desired, _ = wait_for(look(manager, str(read_status(manager).where),
                                         [assumption(found, desired)], order if point else None))
        takeovers = tuple(only(takeover, found, desired) for takeover in plan.takeovers)
    outcomes = {one.outcome for takeover in takeovers for one in takeover.promotions}
    code = 5 if Outcome.UNKNOWN in outcomes else 3 if Outcome.WAITS in outcomes else 0
    if as_json:
        print_json({"target": found, "exit": code,
                    "takeovers": [takeover_to_dict(one) for one in takeovers]})
        raise typer.Exit(code)
    whole = found.partition("/")[0] in {"Site", "Host"}
    for line in (*(predicted(plan, manager.clock()) if whole else ()), *proofs(found, desired),
                 *(line for one in takeovers for line in render_runbook(one))):
        typer.echo(line)
    typer.echo("Nothing was ordered, and nothing was lost.")
    raise typer.Exit(code)


def predicted(plan: "Plan", now_s: float) -> Iterator[str]:
    """Yield what the loss would come to, and how far that can be believed."""
    from controller.plan.prediction.sentence import (  # noqa: PLC0415
        render_basis,
        render_prediction,
    )

    for one in plan.assumed:
        yield render_prediction(one, now_s)
        if basis := render_basis(one, now_s):
            yield f"  {basis}"


def assumption(target: str, desired: "Desired") -> str:
    """Return what a what-if has to take as lost for a failover of a target."""
    kind, _, name = target.partition("/")
    if kind in {"Site", "Host"}:
        return f"{kind.lower()}={name}:down"
    machines = desired.virtual_machines
    one = machines[name] if kind == "VirtualMachine" else next(
        vm for vm in machines.values() if vm.spec.group == name)
    place = one.spec.placement
    if place.host is not None:
        return f"host={place.host}:down"
    return f"site={place.site or min(desired.sites)}:down"


def only(takeover: "Takeover", target: str, desired: "Desired") -> "Takeover":
    """Return the part of a takeover that a VM's or a group's failover is about."""
    from dataclasses import replace  # noqa: PLC0415

    kind, _, name = target.partition("/")
    if kind in {"Site", "Host"}:
        return takeover
    machines = desired.virtual_machines
    return replace(takeover, promotions=tuple(
        one for one in takeover.promotions if one.machine == name
        or (kind == "Group" and machines[one.machine].spec.group == name)))


def proofs(target: str, desired: "Desired") -> Iterator[str]:
    """Yield how each host that would be given up is proven off, and how long that takes."""
    from controller.failover.inequality import wait_s  # noqa: PLC0415

    kind, _, name = target.partition("/")
    guard = desired.estate.spec.failover.guard
    for host, spec in sorted((host, one.spec) for host, one in desired.hosts.items()
                             if name in {host, one.spec.site} and kind in {"Site", "Host"}):
        ways = []
        for method in spec.fencing:
            if method == "redfish" and spec.bmc is not None:
                ways.append("by its BMC, read Off twice (seconds)")
            elif method == "guard" and guard.key_file is not None:
                wait = wait_s(guard, watchdog=spec.watchdog is not None)
                ways.append(f"by its guard, {wait:.0f} s after the last grant of every grantor")
        ways.append(f"by `hotsite confirm-fenced {host}`")
        yield f"{host} is proven off {', or '.join(ways)}"
