"""`hotsite simulate`: what the losses of sites and hosts would come to, in an estate of one's own.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.shared import (
    Json,
    State,
    complain,
    duration_s,
    errors_reported,
    manager_of,
    print_json,
    wait_for,
)

if TYPE_CHECKING:
    from controller.reconcile.manager import Manager
    from controller.reconcile.simulation.playing import Played, Setting

RAN_TWICE, NOT_BACK = 1, 3
MOST_HOURS = 366 * 24.0


def command(
    context: typer.Context,
    path: Annotated[str, typer.Argument(metavar="SPECS", help="A folder of specs or a git URL.")],
    what: Annotated[list[str] | None, typer.Option(
        "--what", metavar="WORDS", show_default=False,
        help="site=NAME:lost@22:00, host=NAME:back@+3h; may be repeated.")] = None,
    hours: Annotated[float, typer.Option(
        "--hours", metavar="H", min=1.0, max=MOST_HOURS, help="How long it lasts.")] = 24.0,
    seed: Annotated[int, typer.Option(
        "--seed", metavar="N", help="Random seed; the same seed gives the same order.")] = 1,
    answer: Annotated[str | None, typer.Option(
        "--answer", metavar="DURATION", show_default=False,
        help="A person orders each failover so long after the loss; unset: nobody.")] = None,
    place: Annotated[str | None, typer.Option(
        "--place", metavar="NAME", show_default=False,
        help="Where the controller stands; as the last loop said, otherwise.")] = None,
    as_json: Json = False,
    state: State = None,
) -> None:
    """Show what the losses of your sites and hosts would come to, played on virtual time.

    Nothing real is touched: the estate of the specs, as it was last seen, is played in memory with
    the plans, gates and failovers of `hotsite run`. Without --what each site and each host is lost
    in turn, while all else is well; with it things happen one after the other in one estate. Times
    of copies and boots are those of the simulation, not measured ones.

    Examples: `hotsite simulate specs/`, `hotsite simulate specs/ --answer 15m`,
    `hotsite simulate specs/ --what site=paris:lost@22:00 --what host=milan-2:lost@23:30`.

    Exit status: 0 every VM that was lost came back, 3 some did not, 4 invalid spec or words, 1 a VM
    ran twice.
    """
    from controller.cli.view.simulation_table import show, to_json  # noqa: PLC0415  # slow

    with errors_reported(as_json=as_json):
        manager = manager_of(context, state)
        answer_s = None if answer is None else duration_s(answer)
        setting = wait_for(setting_of(manager, path, seed, place, answer_s))
        played = play(setting, what or [], hours, manager.clock())
    code = status_of(played)
    if as_json:
        print_json(to_json(setting, played) | {"exit": code})
    else:
        show(setting, played, manager.clock())
    raise typer.Exit(code)


async def setting_of(manager: "Manager", path: str, seed: int, place: str | None,
                     answer_s: float | None) -> "Setting":
    """Return the estate to be played: the specs, and what a loop last saw of it."""
    from controller.reconcile.observe.last_seen import load_seen  # noqa: PLC0415
    from controller.reconcile.simulation.playing import Setting  # noqa: PLC0415

    desired = await manager.load(path)
    if not manager.state.exists():
        return Setting(desired, {}, place, seed, answer_s)
    store, trouble = manager.look_into_store()
    if trouble is not None:
        complain(f"{trouble}; all is played as it is declared")
    try:
        facts = {node: fact for node, fact in load_seen(store).items() if node in desired.nodes}
        stands = place or (store.status() or {}).get("place")
        return Setting(desired, facts, stands, seed, answer_s)
    finally:
        store.close()


def play(setting: "Setting", words: list[str], hours: float, now_s: float) -> "list[Played]":
    """Play what the words say, or each single loss.

    Errors: SpecError.
    """
    from controller.providers.simulated.virtual_time import run_virtual  # noqa: PLC0415
    from controller.reconcile.simulation import happenings, playing  # noqa: PLC0415

    found = happenings.happenings_of(words, setting.desired, now_s, hours) if words else (
        happenings.every_loss(setting.desired, now_s, hours, setting.seed))
    return run_virtual(playing.play(setting, found, now_s, alone=not words))


def status_of(played: "list[Played]") -> int:
    """Return the exit status."""
    if any(one.twice for one in played):
        return RAN_TWICE
    return NOT_BACK if any(one.reasons for one in played) else 0
