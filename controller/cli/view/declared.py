"""Whether a name is declared: a pause of a misspelled name would protect nothing."""

import asyncio
from difflib import get_close_matches

from controller.errors import HotsiteError
from controller.model.desired import KINDS
from controller.reconcile.inspect.loop_status import read_status
from controller.reconcile.manager import Manager


def unknown_target(manager: Manager, target: str) -> str | None:
    """Return a sentence if `target` is surely not declared; None if it is or may be."""
    kind, _, name = target.partition("/")
    if kind not in KINDS or not name:
        kinds = ", ".join(f"{one}/…" for one in KINDS)
        return f"{target} is not understood: write one of {kinds}"
    try:
        where = read_status(manager).where
        places = asyncio.run(manager.load(where)).places if where else None
    except HotsiteError:
        return None
    if places is None or target in places:
        return None
    close = get_close_matches(target, places, n=3)
    hint = f": did you mean {' or '.join(close)}?" if close else ""
    return f"{target} is not declared in {where}{hint}"
