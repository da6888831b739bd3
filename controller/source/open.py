"""The words of a command line into the source that they name."""

from pathlib import Path

from controller.errors import SpecError
from controller.source.base import Source
from controller.source.folder import FolderSource
from controller.source.git.address import parse_git_address
from controller.source.git.repository import GitSource


def open_source(text: str, state_folder: Path) -> Source:
    """Return the source that `text` names: a folder, a file, or a branch in git.

    Errors: SpecError when it is none of these; whether it is there is seen by loading it.
    """
    if not text.strip():
        raise SpecError(("no source is named: write a folder, `.` for this one, or an address like"
                         " git+ssh://git@host/estate.git#main",))
    if text.startswith("git+"):
        return GitSource(parse_git_address(text), state_folder)
    if "://" in text or "::" in text:
        what = (f"the source {text!r} is not understood: write a folder, or an address like "
                "git+ssh://git@host/estate.git#main")
        raise SpecError((what,))
    return FolderSource(Path(text))
