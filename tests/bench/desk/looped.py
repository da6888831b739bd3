"""A real loop over a simulated estate, in real time: `… looped STATE SOURCE`.

Each event is one line of JSON, as `hotsite run --json` prints it. Each line of standard input is a
fault for the simulated world; its end ends the loop.
"""

import asyncio
import sys
from pathlib import Path

from controller.cli.view.log import event_json
from controller.model.desired import Desired
from controller.providers.base import Provider
from controller.providers.simulated.estate import SimulatedEstate
from controller.reconcile.loop import Loop
from controller.reconcile.manager import Manager
from controller.reconcile.report.event import Event

worlds: list[SimulatedEstate] = []


def simulated(desired: Desired, clock: object) -> Provider:
    """Return a world that is as declared."""
    assert callable(clock)
    worlds.append(SimulatedEstate(desired, converged=True, clock=clock))
    return worlds[-1]


def say(event: Event) -> None:
    """Print an event."""
    print(event_json(event), flush=True)


def started(loop: Loop) -> None:
    """Obey standard input from now on."""
    running = asyncio.get_running_loop()

    def read() -> None:
        """Do one line."""
        if line := sys.stdin.readline().strip():
            worlds[-1].command(line)
        else:
            running.remove_reader(sys.stdin)
            loop.stop()
    running.add_reader(sys.stdin, read)


if __name__ == "__main__":
    asyncio.run(Manager(Path(sys.argv[1]), make_provider=simulated).run(
        sys.argv[2], listen=say, started=started))
