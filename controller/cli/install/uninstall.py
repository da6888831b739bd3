"""`hotsite uninstall`: what is ours goes off the hosts, and their VMs run on as they were."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.shared import (
    IN_THE_MIDDLE,
    UNKNOWN,
    By,
    Json,
    State,
    complain,
    errors_reported,
    manager_of,
    print_json,
    wait_for,
    who,
)
from controller.cli.view.terminal import fit

if TYPE_CHECKING:
    from controller.plan.leaving.leaving import Leaving
    from controller.reconcile.manager import Manager

REFUSED, PENDING = 3, 2


def command(
    context: typer.Context,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A folder of specs or a git URL.")],
    dry_run: Annotated[bool, typer.Option(
        "--dry-run", help="Only look, and print what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    replicas: Annotated[str | None, typer.Option(
        "--delete-replicas", metavar="ESTATE", show_default=False,
        help="Delete replicas, too: type the estate's name.")] = None,
    as_json: Json = False,
    by: By = None,
    state: State = None,
) -> None:
    """Take everything of ours off the hosts of an estate; their VMs run on as they are.

    Guards end first, then grantors; then checkpoints and their bitmaps go, our marks in domains,
    programs, keys, terms and records. Disks, networks, bridges and set-aside files stay, autostart
    stays as it is, and replicas stay unless the estate's name is typed for them.

    A host that does not answer is named: run it again when it does. A second time is harmless.
    Stop the loop before, and bring every failover to its end. Afterwards remove the state folder,
    /etc/sudoers.d/hotsite on hosts, the account's key, and /var/lib/hotsite/lease on a witness.

    Examples: `hotsite uninstall specs/ --dry-run`, `hotsite uninstall specs/ --yes`,
    `hotsite uninstall specs/ --delete-replicas lab`.

    Exit status: 0 nothing of ours is left but what stays on purpose, 1 a step failed or the loop
    runs, 2 with --dry-run: there is something to take away, 3 a failover stands, 4 invalid spec,
    5 a node did not answer.
    """
    with errors_reported(as_json=as_json):
        manager = manager_of(context, state)
        raise typer.Exit(wait_for(leave(manager, path, who(by), replicas, dry_run=dry_run, yes=yes,
                                        as_json=as_json), interrupted=IN_THE_MIDDLE))


async def leave(manager: "Manager", path: str, by: str, replicas: str | None, *, dry_run: bool,
                yes: bool, as_json: bool) -> int:
    """Look, show, ask, take away, and return the exit status."""
    desired = await manager.load(path)
    name = desired.estate.metadata.name
    if replicas is not None and replicas != name:
        complain(f"this estate is {name}, not {replicas}: no replica is deleted, and nothing else"
                 " is done")
        return 1
    store = manager.open_store(exclusive=True)
    try:
        async with manager.leave(desired, store) as leaving:
            found = await leaving.look(replicas=replicas is not None)
            if found.blocked:
                complain(f"nothing is done: {found.blocked}")
                return REFUSED
            if not as_json:
                show(found)
            if dry_run:
                return show_json(found) if as_json else PENDING if found.steps else 0
            if not yes and not typer.confirm(f"take all this off the hosts of {name}?"):
                return 1
            left = await leaving.run(by, replicas=replicas is not None,
                                     tell=lambda _, attempt: typer.echo(fit(
                                         f"{attempt.outcome.value}  {attempt.sentence}"),
                                         err=as_json))
    finally:
        store.close()
    for sentence in left.stays:
        typer.echo(fit(sentence), err=as_json)
    if as_json:
        print_json({"done": [said for _, said in left.done],
                    "failed": [said for _, said in left.failed], "stays": list(left.stays)})
    if left.failed:
        return 1
    return UNKNOWN if left.silent else 0


def show(found: "Leaving") -> None:
    """Print what would go, and what stays."""
    for step in found.steps:
        typer.echo(fit(f"- {step.verb} {step.target} on {step.node}: {step.consequence}"))
    for sentence in found.stays:
        typer.echo(fit(f"· {sentence}"))
    if not found.steps:
        typer.echo("nothing of ours is seen")


def show_json(found: "Leaving") -> int:
    """Print the same as JSON, and return the exit status."""
    steps: list[dict[str, Any]] = [
        {"id": step.id, "verb": step.verb, "target": step.target, "node": step.node,
         "consequence": step.consequence} for step in found.steps]
    print_json({"steps": steps, "stays": list(found.stays)})
    return PENDING if steps else 0
