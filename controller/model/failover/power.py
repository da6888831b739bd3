"""What a host's BMC says of its power."""

from dataclasses import dataclass
from typing import Final

ON: Final = "On"
OFF: Final = "Off"
"""The only word for a host without power; all others, and none, prove nothing."""
OFF_READS: Final = 2
"""So often in a row it must be read: some BMCs answer from a cache."""


@dataclass(frozen=True, slots=True)
class PowerFacts:
    """The answer of a host's BMC to one question."""

    state: str
    """Redfish's PowerState as it was told: On, Off, PoweringOff, …; empty: it told none."""
    system_uuid: str = ""
    """Of the machine that it switches; empty: it told none."""
    resets: tuple[str, ...] = ()
    """What it offers to do with the power; empty: it does not say."""
    off_reads: int = 0
    """How often in a row it has read Off, counted up to OFF_READS."""
    off_since_at: float | None = None
    """When the first of these readings was."""
    refusal: str = ""
    """Why it cannot be used as it is, though it answers; its power is not known then."""

    @property
    def is_off(self) -> bool:
        """Return whether this proves that the host had no power."""
        return self.state == OFF and self.off_reads >= OFF_READS and not self.refusal
