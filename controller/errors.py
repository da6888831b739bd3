"""
Everything that can go wrong, as one tree:

* HotsiteError
  x SpecError              the declared state is wrong; a person must edit it (exit 4)
  x SourceUnavailable      the declared state could not be fetched; the last good one stays in force
    + RevisionRefused      it was fetched, and it may not be put in force: unsigned, rewound
  x JournalUnavailable     the journal cannot be written: nothing may be done until it can
  x ActionError            an action did not succeed; the four leaves say what is then true
    + Refused              it did not happen and never will as asked: do not retry
    + Unavailable          it did not happen; the far side was not reachable: try again
    + Undone               it happened, and the node undid it by itself: not again without a person
    + OutcomeUnknown       it may have happened: observe again before anything else
"""


class HotsiteError(Exception):
    """Root of every error this program raises on purpose."""


class SpecError(HotsiteError):
    """A spec cannot be read or contradicts another; `problems` lists every one of them."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class SourceUnavailable(HotsiteError):
    """The place where specs live did not answer or holds nothing; nothing is concluded from it."""


class RevisionRefused(SourceUnavailable):
    """What was fetched may not be put in force; nothing of it is read."""


class JournalUnavailable(HotsiteError):
    """An intent could not be written down, so the action behind it was not begun."""


class ActionError(HotsiteError):
    """An action did not succeed; the four subclasses say what is known."""


class Refused(ActionError):
    """The far side said no. Nothing changed, and asking the same again will not help."""


class Unavailable(ActionError):
    """The far side was never reached. Nothing changed; asking again is safe."""


class Undone(ActionError):
    """It was done, nobody could reach the node afterwards, and the node undid it by itself."""


class OutcomeUnknown(ActionError):
    """The line broke after the request had left. Only observing can tell what happened."""
