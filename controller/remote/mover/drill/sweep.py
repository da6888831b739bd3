"""Remove what a crash of ours has left on this host: of copies, and of drills whose host went down.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List

from mover.backup.sweep import SWEEPERS, Owned, remove_all
from mover.drill.remains import folder_of, hold, take_away_stubbornly
from mover.requests import Requests

STORE = "hotsite-replicas"
AT_ONCE_S = 20.0                # what stays is found at the next look


def run(words: List[str]) -> Dict[str, Any]:
    """Remove {"leftovers": [[kind, name], …]}; return the removed and, with reasons, the kept."""
    return remove_all(Requests().request["leftovers"], {**SWEEPERS, "drill": _drill})


def _drill(root: str) -> None:
    """Take away a drill that nobody conducts; a conductor or watchdog that lives holds its lock."""
    if os.path.basename(os.path.dirname(root)) != STORE or not os.path.isabs(root):
        raise Owned("it is no replica")
    lock = hold(root)
    try:
        if os.path.isdir(folder_of(root)):
            for why in take_away_stubbornly([root], {}, AT_ONCE_S).values():
                raise Owned(why)
    finally:
        os.close(lock)
