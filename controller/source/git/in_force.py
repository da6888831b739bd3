"""Which commit is in force, kept beside the mirror, and whether a head descends from it.

The mirror may be deleted, since the remote has it all; this record may not, or a rewound branch
would be taken for a first one. It is one file, replaced whole.

A mirror holds only the newest commits. A commit that is not found there may still be an ancestor:
history is fetched deeper, by steps, up to a bound. Beyond the bound nothing is known, and what is
not known is no descent.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from controller.errors import RevisionRefused
from controller.source.git.address import GitAddress
from controller.source.git.mirror import deepen
from controller.source.git.program import GitFailed, GitProgram

DEPTHS: Final = (50, 500, 5000)
"""So many commits of history are fetched, one after another, to find the commit in force."""
NAME: Final = "in-force.json"


@dataclass(frozen=True, slots=True)
class InForce:
    """The commit whose specs were put in force last."""

    commit: str
    signer: str = ""
    """Who signed it; empty where no signature was asked for."""


def read_in_force(folder: Path) -> InForce | None:
    """Return the record; None where nothing was ever in force.

    Errors: RevisionRefused if it is there and cannot be read.
    """
    path = folder / NAME
    try:
        held = json.loads(path.read_text())
        return InForce(str(held["commit"]), str(held.get("signer", "")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RevisionRefused(f"{path}, which says what is in force, cannot be read ({error});"
                              " if the head of the branch may be trusted, delete the file and"
                              " start the controller again") from error


def write_in_force(folder: Path, held: InForce) -> None:
    """Replace the record."""
    part = folder / f"{NAME}.part"
    with part.open("w") as file:
        file.write(json.dumps(asdict(held)))
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / NAME)


async def descends(git: GitProgram, address: GitAddress, head: str, held: str) -> str:
    """Return why a head is not known to descend from the commit in force; empty where it does.

    Errors: GitFailed if history could not be fetched.
    """
    if head == held or await _is_ancestor(git, held, head):
        return ""
    for depth in DEPTHS:
        await deepen(git, address, depth)
        if await _is_ancestor(git, held, head):
            return ""
        if int(await git.run("rev-list", "--count", head)) < depth:     # that is all there is
            return f"it does not descend from {held[:12]}, which is in force"
    return (f"{held[:12]}, which is in force, is not among the last {DEPTHS[-1]} commits before it:"
            " whether it descends from that is unknown")


async def _is_ancestor(git: GitProgram, held: str, head: str) -> bool:
    """Return whether the mirror shows that one commit is part of the other's history."""
    try:
        await git.run("merge-base", "--is-ancestor", held, head)
    except GitFailed:
        return False
    return True
