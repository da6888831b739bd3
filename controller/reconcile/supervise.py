"""New revisions into the loop: a good one replaces the last, a bad one changes nothing.

Rule 1: where any part of a revision fails to load, the last good one stays in force; that is said.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

from controller.errors import HotsiteError, SourceUnavailable, SpecError
from controller.model.desired import Desired
from controller.reconcile.loop import Loop
from controller.reconcile.tasks import cancel
from controller.source.source import Source

AGAIN_S: Final = 5.0
"""A source that can no longer be watched is loaded again this much later."""
FIRST_AGAIN_S: Final = 1.0
"""Until something was loaded: a source that fails otherwise each time is not asked in a circle."""
PROBLEMS: Final = 3


async def supervise(loop: Loop, source: Source, desired: Desired, text: str,
                    chores: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
    """Run `loop` on `desired`, and on whatever `source` declares later, until it is stopped.

    Shapes: `chores` run beside it, for ever, by what they do.
    """
    await put_in_force(loop, source, desired, text)
    every: dict[str, Callable[[], Awaitable[None]]] = {
        "following the specs": partial(follow, loop, source, text), **chores}
    beside = [asyncio.create_task(loop.forever(name, body)) for name, body in every.items()]
    try:
        await loop.run()
    finally:
        await cancel(*beside)


async def put_in_force(loop: Loop, source: Source, desired: Desired, text: str) -> None:
    """Put a revision in force, and report that."""
    await loop.set_desired(desired)
    loop.say_source(f"revision {desired.revision} from {source.describe()} is in force",
                    good=True, where=text, revision=desired.revision)
    if source.fault:
        report_bad(loop, text, source.fault)


async def first_load(source: Source, tell: Callable[[str], None]) -> Desired:
    """Return what the source declares, as soon as it can be fetched.

    Errors: SpecError; there is no good revision to fall back on.
    """
    while True:
        try:
            return await source.load()
        except SourceUnavailable as error:
            tell(f"{error}; nothing is done until the specs can be read")
            await anext(aiter(source.changes()))
            await asyncio.sleep(FIRST_AGAIN_S)


async def follow(loop: Loop, source: Source, text: str) -> None:
    """Load again whenever the source reports a change, for ever."""
    while True:
        try:
            async for _ in source.changes():
                await load_again(loop, source, text)
        except (HotsiteError, OSError) as error:
            report_bad(loop, text, f"the source cannot be watched: {error}")
        await asyncio.sleep(AGAIN_S)
        await load_again(loop, source, text)


async def load_again(loop: Loop, source: Source, text: str) -> None:
    """Put the source's present revision in force, if it is whole, valid and new."""
    try:
        desired = await source.load()
        before = loop.desired.revision if loop.desired else None
        if desired.revision != before:
            await put_in_force(loop, source, desired, text)
        elif not loop.source.get("good"):
            loop.say_source(f"the specs are readable again; revision {before} is in force",
                            good=True, where=text, revision=before)
    except SpecError as error:
        first, more = error.problems[:PROBLEMS], len(error.problems) - PROBLEMS
        shown = "; ".join((*first, f"and {more} more") if more > 0 else first)
        report_bad(loop, text, f"the new specs are wrong ({shown})")
    except (SourceUnavailable, OSError) as error:
        report_bad(loop, text, str(error))


def report_bad(loop: Loop, text: str, sentence: str) -> None:
    """Report that the last good revision stays in force, once per reason."""
    revision = loop.desired.revision if loop.desired else None
    whole = f"{sentence}; revision {revision} stays in force"
    if loop.source.get("sentence") != whole:
        loop.say_source(whole, good=False, where=text, revision=revision)
