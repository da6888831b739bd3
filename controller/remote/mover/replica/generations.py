"""
Copies of the last generations of a replica's state: state.json.N is a copy of generation N.

A commit replaces state.json, and nothing else. A copy counts only where state.json cannot be read
or is older: then somebody put an earlier one back, which does not name the newest points.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import Dict, NamedTuple

from mover.errors import Damaged, Refused
from mover.image.regular import read_regular
from mover.replica.state import State, parse_state

COPIES = 4
MOST_BYTES = 256 << 20
NAME = "state.json"
COPY = re.compile(r"state\.json\.(\d+)\Z")


class Found(NamedTuple):
    """The newest state; `why` says why it does not come from state.json, empty if it does."""

    state: State
    why: str = ""


def newest(root: str) -> Found:
    """
    Return the newest whole generation.

    Errors: Refused when there is none, or one is of another version; Damaged when none is whole.
    """
    held, complaint = None, ""
    try:
        held = _read(os.path.join(root, NAME))
    except FileNotFoundError:
        complaint = "it is missing"
    except Damaged as error:
        complaint = str(error)
    for number, path in sorted(copies(root).items(), reverse=True):
        if held is not None and number <= held.generation:
            break
        with contextlib.suppress(Damaged, FileNotFoundError):
            state = _read(path)
            if held is None or state.generation > held.generation:
                return Found(state, complaint or "it was of generation %d" % held.generation
                             if held else complaint)
    if held is None and complaint == "it is missing":
        raise Refused("%s is no replica: state.json is missing" % root)
    if held is None:
        raise Damaged(complaint)
    return Found(held)


def _read(path: str) -> State:
    return parse_state(read_regular(path, MOST_BYTES), path)


def copies(root: str) -> Dict[int, str]:
    """Return the copies that are there, by generation."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        found = {name: COPY.match(name) for name in os.listdir(root)}
        return {int(match[1]): os.path.join(root, name) for name, match in found.items() if match}
    return {}


def keep(root: str, generation: int, data: bytes) -> None:
    """
    Write a copy of the new state.json and remove the oldest copy.

    It is not synced: a copy counts only if it has its check.
    """
    fd = os.open(os.path.join(root, "%s.%d" % (NAME, generation)),
                 os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view):]
    finally:
        os.close(fd)
    for number, path in copies(root).items():
        if number <= generation - COPIES:
            os.unlink(path)


def forget(root: str) -> None:
    """Remove every generation, state.json last: a crash leaves a whole replica or none."""
    for path in [*copies(root).values(), os.path.join(root, NAME)]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def is_there(root: str) -> bool:
    """Return whether a folder has the state of a replica, sound or not."""
    return os.path.exists(os.path.join(root, NAME)) or bool(copies(root))
