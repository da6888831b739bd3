"""Contained: a fault in the diff of one object stays with that object.

Rule 1: what the diff had put down is taken back, the object is stalled with a sentence, and all
        others are decided as usual.
"""

from typing import Final

from controller.errors import HotsiteError
from controller.plan.steps.draft import Draft

FAULTS: Final = (ArithmeticError, AssertionError, AttributeError, HotsiteError, LookupError,
                 TypeError, ValueError)
"""The exceptions that one odd fact can cause in a diff."""


class contained:    # noqa: N801 -- it is read as a word: `with contained(…)`
    """Take back what was put down for `target`, and stall it, if its diff raises a fault."""

    __slots__ = ("_draft", "_mark", "_target")

    def __init__(self, target: str, draft: Draft) -> None:
        self._target = target
        self._draft = draft
        self._mark = draft.mark()

    def __enter__(self) -> None:
        """Begin the diff."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        """Keep a fault; let any other exception through."""
        if not isinstance(error, FAULTS):
            return False
        break_off(self._target, self._draft, self._mark, error)
        return True


def break_off(target: str, draft: Draft, mark: tuple[int, int, int], error: Exception) -> None:
    """Take back what was put down since `mark`, and stall the target whose diff broke off."""
    draft.take_back(mark)
    draft.stall(target, "NotUnderstood", not_understood(target, error))


def not_understood(target: str, error: Exception) -> str:
    """Return the sentence about an object whose facts raised a fault."""
    words = " ".join(str(error).split())
    return (f"what is seen of {target} could not be thought through ({type(error).__name__}:"
            f" {words}): nothing is done about it, and everything else goes on; look at what"
            f" `hotsite explain {target}` shows of it, and report this")
