"""Estates for eyes: what a real loop leaves in a store after faults, and the page over it.

A loop runs in virtual time over a simulated estate, and is then left as it is at that moment. The
page is served over the store at the instant at which the loop was left, so that nothing on it ages.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from controller.model.desired import Desired
from controller.plan.survey.context import Suspension
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.virtual_time import epoch_clock, run_virtual
from controller.reconcile.loop import Loop
from controller.source.load import load_folder
from controller.store.store import Store
from controller.web.access.people import Rules
from controller.web.app import make_app

TALK = Path(__file__).parents[2] / "examples" / "talk-2007"
HOUR_S = 3600.0
Scene = Callable[[Loop, SimulatedEstate, Store], Awaitable[None]]


def talk() -> Desired:
    """The estate of the 2007 talk: 12 hosts, 35 VMs."""
    return load_folder(TALK, revision="a41c09e2")


def play(path: Path, desired: Desired, scene: Scene) -> float:
    """Run a loop over an estate until the scene is over; return the instant of its end."""
    async def whole() -> float:
        with Store.open(path) as store:
            estate = SimulatedEstate(desired, converged=True)
            loop = Loop(estate, store, epoch_clock)
            await loop.set_desired(desired)
            loop.say_source(f"revision {desired.revision} from specs is in force", good=True)
            running = asyncio.create_task(loop.run())
            try:
                with Store.open(path) as person:     # the loop hears of what others write
                    await scene(loop, estate, person)
                at, said = epoch_clock(), store.status()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await estate.close()
            assert said is not None
            store.save_status(said)     # its last word is taken back: it runs
            return at
    with ThreadPoolExecutor(1) as thread:   # Playwright has a loop of its own in this one
        return thread.submit(lambda: run_virtual(whole())).result()


async def well(loop: Loop, estate: SimulatedEstate, store: Store) -> None:
    """Nothing happens for a while."""
    await asyncio.sleep(300)


async def broken(loop: Loop, estate: SimulatedEstate, store: Store) -> None:
    """A bit of everything that goes wrong, at the same time."""
    await asyncio.sleep(60)
    for one in ("kill any 33par-sql", "link metro/2 down", "tag any 33par-paie 202"):
        estate.command(one)
    await asyncio.sleep(400)
    now = epoch_clock()
    store.suspend(Suspension("VirtualMachine/33par-crm", "ann", "the vendor upgrades the database",
                             now + HOUR_S))
    for one in ("pause any 33par-ftp", "hang 33mil-esx4", "power 33par-esx1 off",
                "memory any 33par-citrix1 512MiB", "trunk 33mil-sw tr0 add 666"):
        estate.command(one)
    await asyncio.sleep(150)


@contextmanager
def served(path: Path, clock: Callable[[], float] = time.time, rules: Rules | None = None,
           beside: Callable[[], Awaitable[None]] | None = None) -> Iterator[str]:
    """Serve the page over a store on a free port of loopback, in a thread with a loop of its own.

    Shapes: `beside` runs in that loop until the page ends.
    """
    ready, ending = threading.Event(), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    async def whole() -> None:
        with Store.open(path) as store:
            server = uvicorn.Server(uvicorn.Config(
                make_app(store, clock, rules), log_level="error", http="h11", ws="none",
                timeout_graceful_shutdown=1))
            tasks = [asyncio.create_task(beside())] if beside else []
            serving = asyncio.create_task(server.serve([listener]))
            while not (ending.is_set() or serving.done() or any(one.done() for one in tasks)):
                await asyncio.sleep(0.02)
                if server.started:
                    ready.set()
            server.should_exit = True
            for one in tasks:
                one.cancel()
            await asyncio.gather(serving, *tasks, return_exceptions=True)
    thread = threading.Thread(target=asyncio.run, args=(whole(),))
    thread.start()
    try:
        assert ready.wait(30)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        ending.set()
        thread.join(30)
        listener.close()


class Live:
    """A real loop over a simulated estate, in real time, in the thread that serves its page."""

    def __init__(self, path: Path, desired: Desired) -> None:
        self._path, self._desired = path, desired
        self._strikes: list[str] = []

    def strike(self, fault: str) -> None:
        """Have a fault happen."""
        self._strikes.append(fault)

    async def run(self) -> None:
        """Run until cancelled."""
        with Store.open(self._path) as store:
            estate = SimulatedEstate(self._desired, converged=True, clock=time.time)
            loop = Loop(estate, store, time.time)
            await loop.set_desired(self._desired)
            running = asyncio.create_task(loop.run())
            try:
                while not running.done():
                    await asyncio.sleep(0.02)
                    while self._strikes:
                        estate.command(self._strikes.pop(0))
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await estate.close()
