"""Sources: what every source of declared state does, and which one a command line names.

Rule 1: a source loads whole or not at all. What could not be loaded, in any part, changes nothing.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from controller.errors import SpecError
from controller.model.desired import Desired
from controller.source.folder import FolderSource
from controller.source.git.address import parse_git_address
from controller.source.git.repository import GitSource


class Source(Protocol):
    """A place where specs live."""

    fault: str
    """Why its newest revision is not what was loaded; empty where it is."""

    async def load(self) -> Desired:
        """Return everything that is declared there now, from one revision.

        Errors: SpecError if it is wrong, SourceUnavailable if it could not be fetched or is empty.
        The last good Desired then stays in force; the source itself remembers nothing of it.
        """
        ...

    def changes(self) -> AsyncIterator[None]:
        """Yield each time that it is worth loading again, also after a failure."""
        ...

    def describe(self) -> str:
        """Return where the specs are, in words for `status`; without secrets."""
        ...


def open_source(text: str, state_folder: Path) -> Source:
    """Return the source that `text` names: a folder, a file, or a branch in git.

    Errors: SpecError if it is none of these. Whether it exists shows when it is loaded.
    """
    if not text.strip():
        raise SpecError(("no source is named: write a folder, `.` for the current one, or an"
                         " address like git+ssh://git@host/estate.git#main",))
    if text.startswith("git+"):
        return GitSource(parse_git_address(text), state_folder)
    if "://" in text or "::" in text:
        what = (f"the source {text!r} is not understood: write a folder, or an address like "
                "git+ssh://git@host/estate.git#main")
        raise SpecError((what,))
    return FolderSource(Path(text))
