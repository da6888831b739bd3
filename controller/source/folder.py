"""Specs in a folder: an edit only wakes the loop, which then loads everything anew."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from watchfiles import Change, DefaultFilter, awatch

from controller.model.desired import Desired
from controller.source.load import SpecCache

QUIET_MS = 200  # an editor writes a file in several steps


class SpecFilter(DefaultFilter):
    """Ignores what the loader ignores: names that begin with a dot."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def __call__(self, change: Change, path: str) -> bool:
        """Return whether the change may matter; templates count, so every suffix does."""
        if not Path(path).is_relative_to(self._root):
            return super().__call__(change, path)
        parts = Path(path).relative_to(self._root).parts
        return not any(part.startswith(".") or part.endswith("~") for part in parts)


async def watch_folder(path: Path) -> AsyncIterator[None]:
    """Yield once after each burst of changes below `path`.

    A folder that is replaced or does not exist yet is looked for again; nothing is concluded.
    """
    watched = folder_of(path)
    async for _ in awatch(watched, watch_filter=SpecFilter(watched), debounce=QUIET_MS * 4,
                          step=QUIET_MS):
        yield


def folder_of(path: Path) -> Path:
    """Return the real folder to watch: the source itself, or the one that holds it."""
    real = path.resolve()
    return real if real.is_dir() else real.parent


class FolderSource:
    """Specs in a folder of this machine, or in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.fault = ""
        self._cache = SpecCache()

    async def load(self) -> Desired:
        """Return what the folder declares now; its revision is a hash of the contents."""
        return await asyncio.to_thread(self._cache.load, self._path)

    def changes(self) -> AsyncIterator[None]:
        """Yield after each burst of edits."""
        return watch_folder(self._path)

    def describe(self) -> str:
        """Return the path."""
        return f"folder {self._path}"
