"""What is wrong with the controller itself: nobody else could tell that of it."""

from collections.abc import Mapping
from typing import Final

from controller.alerting.collect import Trouble
from controller.model.units import render_duration
from controller.reconcile.report.status import Running

UNDECIDED_S: Final = 300.0
"""A loop that decides nothing for this long is in trouble."""
LOOKS_ON: Final = frozenset({"standby", "replaced"})
"""Another controller conducts, and tells."""


def troubles_of(loop: Running, undecided_s: float, heartbeat_fault: str,
                receivers: Mapping[str, str]) -> list[Trouble]:
    """Return what is wrong with the controller.

    Shapes: `receivers` holds, by receiver, why it does not get everything.
    """
    found = []
    if loop.journal_fault is not None:
        found.append(Trouble("journal", "the controller cannot write its journal: it does nothing",
                             loop.journal_fault, "hotsite status", page=True))
    if undecided_s >= UNDECIDED_S:
        found.append(Trouble(
            "undecided", "the controller decides nothing",
            f"it has decided nothing for {render_duration(undecided_s)}, and so heals nothing",
            "look at its log, and start it again", page=True))
    if loop.source and not loop.source.get("good", True):
        found.append(Trouble("specs", "the newest specs are not in force",
                             str(loop.source.get("sentence", "")), "hotsite validate"))
    if loop.lease is not None and loop.lease.get("mode") == "adrift":
        found.append(Trouble("lease", "the lease cannot be renewed",
                             str(loop.lease.get("sentence", "")), "hotsite lease"))
    if heartbeat_fault:
        found.append(Trouble("heartbeat", "the controller's sign of life does not arrive",
                             heartbeat_fault, "look at the server that awaits it"))
    for name, sentence in receivers.items():
        found.append(Trouble(about_receiver(name), f"{name} cannot be told what is wrong", sentence,
                             f"hotsite notify-test {loop.source.get('where', 'SPECS')} {name}"))
    return found


def about_receiver(name: str) -> str:
    """Return which trouble of the controller's it is that a receiver cannot be told."""
    return f"receiver {name}"


def another_tells(loop: Running) -> bool:
    """Return whether it is known that another controller conducts; if in doubt, both tell."""
    return loop.lease is not None and loop.lease.get("mode") in LOOKS_ON
