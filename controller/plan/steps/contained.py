"""Contained: a fault in the look at one object stays with that object.

Rule 1: what could not be thought through is left alone, aloud, and the rest is decided without it.
"""

from typing import Final

from controller.errors import HotsiteError
from controller.plan.steps.draft import Draft

FAULTS: Final = (ArithmeticError, AssertionError, AttributeError, HotsiteError, LookupError,
                 TypeError, ValueError)
"""What one odd fact can make a decision stumble over."""


class contained:    # noqa: N801 -- it is read as a word: `with contained(…)`
    """Take back what was noted of `target`, and stall it, where the look at it breaks off."""

    __slots__ = ("_draft", "_mark", "_target")

    def __init__(self, target: str, draft: Draft) -> None:
        self._target = target
        self._draft = draft
        self._mark = draft.mark()

    def __enter__(self) -> None:
        """Begin to look."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        """Keep a fault here; everything else goes on."""
        if not isinstance(error, FAULTS):
            return False
        break_off(self._target, self._draft, self._mark, error)
        return True


def break_off(target: str, draft: Draft, mark: tuple[int, int, int], error: Exception) -> None:
    """Take back what was noted since `mark`, and stall the target over which a look broke off."""
    draft.take_back(mark)
    draft.stall(target, "NotUnderstood", not_understood(target, error))


def not_understood(target: str, error: Exception) -> str:
    """Return what is said of an object that could not be thought through."""
    words = " ".join(str(error).split())
    return (f"what is seen of {target} could not be thought through ({type(error).__name__}:"
            f" {words}): nothing is done about it, and everything else goes on; look at what"
            f" `hotsite explain {target}` shows of it, and report this")
