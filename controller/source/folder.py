"""A folder as a source of specs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from controller.model.desired import Desired
from controller.source.load import SpecCache
from controller.source.watch import watch_folder


class FolderSource:
    """Specs in a folder of this machine, or in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
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
