"""The page as a child of the loop: `run --web`.

A process of its own, so that a page neither delays nor ends the loop. One that ends is started
again after a while; one that was given words that are not understood is not. It is stopped with
the loop; where the loop is killed, it stays, and says that the loop is gone.
"""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

AGAIN_S: Final = 10.0
STOP_S: Final = 5.0
NOT_UNDERSTOOD: Final = 4


def argv_of(listen: str, state: Path, hook_secret: Path | None = None) -> list[str]:
    """Return the command that serves the page, and a forge's webhooks where there is a secret."""
    hooks = [] if hook_secret is None else ["--hook-secret", str(hook_secret)]
    return [sys.executable, "-m", "controller", "web", "--listen", listen, "--state", str(state),
            *hooks]


async def keep_page(argv: Sequence[str], say: Callable[[str], None],
                    again_s: float = AGAIN_S) -> None:
    """Run the page, and again whenever it ends, until cancelled."""
    while True:
        child = await asyncio.create_subprocess_exec(*argv, stdin=DEVNULL, stdout=DEVNULL)
        try:
            status = await child.wait()
        except asyncio.CancelledError:
            await stop(child)
            raise
        if status == NOT_UNDERSTOOD:
            say("the page is not served: see the line before; the loop runs on without it")
            return
        say(f"the page has ended with status {status}: it is started again in {again_s:g} s")
        await asyncio.sleep(again_s)


async def stop(child: Process) -> None:
    """End a child, at last by force."""
    with suppress(ProcessLookupError):
        child.terminate()
        try:
            await asyncio.wait_for(child.wait(), STOP_S)
        except TimeoutError:
            child.kill()
            await child.wait()
