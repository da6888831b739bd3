"""The nouns of a prediction: what the loss of a site, now, would come to."""

from dataclasses import dataclass

from controller.plan.steps.takeover import Outcome


@dataclass(frozen=True, slots=True)
class Hindered:
    """A protected VM that would not come back by itself."""

    machine: str
    outcome: Outcome
    """waits, unknown or shed."""
    sentence: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """What would come back at the twin if a site were lost now."""

    site: str
    twin: str | None
    """Unset: nothing can come back, for there is no other site."""
    protected: int
    hindered: tuple[Hindered, ...] = ()
    worst: str = ""
    """The VM whose newest restore point is oldest; empty: no VM has one."""
    worst_at: float | None = None
    """When that point began: what was written since would be lost."""
    automatic: int = 0
    """How many VMs the loop may fail over without a person."""

    @property
    def returns(self) -> int:
        """Return how many VMs would come back."""
        return self.protected - len(self.hindered)
