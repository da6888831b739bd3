"""What every source of declared state is: it loads whole or not at all, and says when to again."""

from collections.abc import AsyncIterator
from typing import Protocol

from controller.model.desired import Desired


class Source(Protocol):
    """A place where specs live."""

    async def load(self) -> Desired:
        """Return everything that is declared there now, from one revision.

        Errors: SpecError when it is wrong, SourceUnavailable when it could not be fetched or is
        empty. The last good Desired then stays in force; a source remembers nothing about it.
        """
        ...

    def changes(self) -> AsyncIterator[None]:
        """Yield each time that it is worth loading again, including after a failure."""
        ...

    def describe(self) -> str:
        """Return where this is, in words for `status`; without secrets."""
        ...
