"""`hotsite demo`: the estate of the 2007 talk in memory; faults strike and the loop heals them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from controller.model.desired import Desired
    from controller.reconcile.rehearsal import Scene

DONE, FAILED = 0, 1
TERMINAL_SPEED: Final = 30.0
"""Virtual seconds per real one, so that a person can watch."""


def command(
    speed: Annotated[float | None, typer.Option(
        "--speed", metavar="N", min=0.0, show_default=False,
        help="Simulated seconds per second; 0 is as fast as it goes. On a terminal 30.")] = None,
    seed: Annotated[int, typer.Option(
        "--seed", metavar="N", help="Random seed; the same seed gives the same run.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Play faults against a simulated estate of 12 hosts and 35 VMs, and watch them heal.

    Nothing real is touched and no root is needed: hosts, VMs, networks, power and time are
    simulated; the loop, its plans and its gates are those of `hotsite run`. First the estate is
    built from bare hosts, then one fault of each kind strikes. On a terminal both sites are
    shown live; elsewhere one line per event is printed.

    Examples: `hotsite demo`, `hotsite demo --speed 10`, `hotsite demo --seed 7 --json`.

    Exit status: 0 every fault was healed, 1 one was not.
    """
    from controller.cli.view.demo_screen import Plain, Screen, Silent  # noqa: PLC0415
    from controller.cli.view.paint import console  # noqa: PLC0415  # keeps --help quick

    shell = console()
    watched = shell.is_terminal and not as_json
    pace = speed if speed is not None else (TERMINAL_SPEED if watched else 0.0)
    stage = Silent() if as_json else Screen(shell, pace) if watched else Plain(shell)
    scenes = _play(talk_estate(), seed, pace, stage)
    if as_json:
        from controller.reconcile.rehearsal import to_json  # noqa: PLC0415

        typer.echo(json.dumps({"seed": seed, "faults": [to_json(scene) for scene in scenes]},
                              indent=2))
    else:
        from controller.cli.view.demo_table import closing_table  # noqa: PLC0415

        closing_table(shell, scenes)
    raise typer.Exit(DONE if all(scene.healed for scene in scenes) else FAILED)


def _play(desired: "Desired", seed: int, pace: float, stage: "Stage") -> "tuple[Scene, ...]":
    """Play the script in virtual time and return how each act went."""
    from controller.cli.view.demo_script import ACTS  # noqa: PLC0415
    from controller.providers.simulated.virtual_time import run_virtual  # noqa: PLC0415
    from controller.reconcile.rehearsal import Rehearsal  # noqa: PLC0415

    async def whole() -> "tuple[Scene, ...]":
        """Run the rehearsal while the stage shows it."""
        rehearsal = Rehearsal(desired, seed, stage.say)
        async with stage.showing(rehearsal):
            return await rehearsal.play(ACTS)

    return run_virtual(whole(), pace)


def talk_estate() -> "Desired":
    """Return the talk's estate: from the package, or from the examples of a checkout."""
    from importlib.resources import files  # noqa: PLC0415

    from controller.source.load import load_folder  # noqa: PLC0415

    packaged = Path(str(files("controller.providers.simulated"))) / "talk-2007"
    checkout = Path(__file__).parents[2] / "examples" / "talk-2007"
    return load_folder(packaged if packaged.is_dir() else checkout)


if TYPE_CHECKING:
    from controller.cli.view.demo_screen import Stage
