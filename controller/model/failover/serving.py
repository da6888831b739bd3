"""Whether guests serve: what a host is told to ask of them, and what it found out."""

from dataclasses import dataclass
from enum import StrEnum


class Word(StrEnum):
    """What one way of asking a guest came to."""

    ANSWERS = "answers"
    DENIES = "denies"
    """Something answered, and it is not what was asked for: a closed port, another card."""
    SILENT = "silent"
    """Nothing answered in time, which may be the network's fault."""
    UNTRIED = "untried"
    """It could not be asked at all."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking a guest once, with a sentence that stays the same while nothing changes.
    """

    word: Word
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class ServingFacts:
    """What one host found out of the guest of one VM; None: that was not asked."""

    agent: Answer | None = None
    tcp: Answer | None = None
    ping: Answer | None = None
    began_at: float | None = None
    """When its process began, by the host's clock; None: it does not run there."""
    reads: bool | None = None
    """Whether it has read of its disks; None: nobody knows."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a host is to ask of the guest of one VM."""

    uuid: str
    name: str
    """Of its domain on that host; empty where it runs elsewhere."""
    agent: bool = False
    reads: bool = False
    tcp: int | None = None
    ping: bool = False
    address: str = ""
    mac: str = ""
    """Of the card with that address: whoever else answers there is somebody else."""
