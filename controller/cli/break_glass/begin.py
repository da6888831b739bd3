"""`hotsite apply --break-glass`: puts a folder of specs in force over git, for a while."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from controller.cli.shared import complain, print_json

if TYPE_CHECKING:
    from controller.plan.steps.plan import Plan
    from controller.reconcile.break_glass.proposal import Proposal
    from controller.reconcile.manager import Manager
    from controller.store.store import Store

LINES: Final = 200
"""So many lines of a patch are shown before the question; all of it is in the journal's store."""


async def begin(manager: "Manager", path: str, why: str, span_s: float, by: str, *, yes: bool,
                as_json: bool) -> int:
    """Show what a folder would change over git, ask, and put it in force; return the status."""
    # what loads much is loaded late: it keeps --help quick
    from controller.reconcile.break_glass.proposal import (  # noqa: PLC0415
        agreed,
        branch_of,
        propose,
    )

    store = manager.open_store()
    try:
        proposal = await propose(branch_of(store, manager.state), Path(path), by, why, span_s,
                                 manager.clock())
        async with manager.once(proposal.desired, store) as once:
            once.suppose_glass(proposal.glass)
            plan = await once.plan(proposal.desired)
            anyway = once.replan(proposal.specs)
        proposal = proposal._replace(glass=replace(proposal.glass, agreed=tuple(
            agreed(plan, anyway, proposal.glass, answered=not yes))))
        return put(manager, store, proposal, plan, yes=yes, as_json=as_json)
    finally:
        store.close()


def put(manager: "Manager", store: "Store", proposal: "Proposal", plan: "Plan", *, yes: bool,
        as_json: bool) -> int:
    """Show, ask, and save it for the loop; return the exit status."""
    from controller.cli.apply import ask  # noqa: PLC0415  # keeps --help quick
    from controller.cli.view.paint import Painter, console  # noqa: PLC0415
    from controller.model.units import render_duration, render_instant  # noqa: PLC0415
    from controller.reconcile.break_glass.proposal import begin, given_up  # noqa: PLC0415
    from controller.reconcile.inspect.loop_status import read_status  # noqa: PLC0415

    glass = proposal.glass
    if not as_json:
        shown = glass.patch.splitlines()
        typer.echo("\n".join(shown[:LINES]))
        if len(shown) > LINES:
            typer.echo(f"… and {len(shown) - LINES} more lines")
        painter = Painter(console())
        painter.plan(plan, proposal.desired)
        painter.line("For what this changes, no maintenance window and no second person is waited"
                     " for. It is told to everybody who is told what is wrong.", "bold")
        if less := given_up(store.break_glass(), glass):
            painter.line(less, "bold")
        if not yes and (code := ask(plan)) is not None:
            return code
    begin(store, glass, manager.clock())
    loop = read_status(manager)
    if as_json:
        print_json({"id": glass.id, "by": glass.by, "why": glass.why, "until_at": glass.until_at,
                    "base": glass.base, "targets": list(glass.targets), "patch": glass.patch,
                    "loop": loop.alive})
    else:
        typer.echo(f"In force over git for {render_duration(glass.until_at - glass.begun_at)},"
                   f" until {render_instant(glass.until_at)}. To keep it, commit it:"
                   " `hotsite break-glass show --patch | git apply`")
    if proposal.specs.estate.spec.failover.lease is not None:
        complain("another controller that takes over knows nothing of this, and goes back to git:"
                 " do the same there, with the same folder")
    if not loop.alive:
        complain(f"{loop.loop_line()[0]}; the break-glass holds once one runs")
    return 0
