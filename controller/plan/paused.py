"""What is said of a VM that has a process and does not run, and what libvirt accepts for it.

Rule 1: `virsh resume` is named only where libvirt obeys it, and where no second copy can run.
"""

from collections.abc import Mapping
from typing import Final

from controller.model.facts import DomainFacts, DomainState

WAYS: Final[Mapping[str, str]] = {
    "watchdog": "its watchdog fired because it hung: look at its console there, then"
                " `virsh resume {name}`, or `virsh reset {name}` and resume it",
    "crashed": "its kernel crashed: look at its console there, then `virsh destroy {name}`, and it"
               " is started again",
    "panicked": "its kernel crashed: look at its console there, then `virsh destroy {name}`, and it"
                " is started again",
    "shutting down": "it has shut down and its process stays: `virsh destroy {name}` there ends it,"
                     " and it is started again",
    "migrating": "a move of it broke off: see that no other host runs it, then"
                 " `virsh resume {name}` there",
    "post-copy": "a move of it broke off half-way, and part of its memory is on the other host:"
                 " `virsh migrate --postcopy-resume` brings the two together; never destroy it",
    "saving": "it is being saved, or that broke off: see `virsh domjobinfo {name}` there, and when"
              " no job runs, `virsh resume {name}`",
}
"""By libvirt's word for why it is paused."""
ALIKE: Final[Mapping[str, str]] = {
    "post-copy failed": "post-copy", "dumping": "saving", "snapshot": "saving",
}


def paused_sentence(name: str, host: str, domain: DomainFacts) -> tuple[str, str]:
    """Return the reason and the sentence for a VM that only a person lets run on."""
    why = domain.state_reason
    if domain.state is DomainState.SUSPENDED:
        return "Suspended", (f"{name} sleeps on {host}, as its own system asked for: nothing is"
                             f" done; `virsh dompmwakeup {name}` there wakes it")
    if why == "ioerror":
        return "PausedOnError", (
            f"{name} is paused on {host} because a disk of it could not be read or written: free"
            f" space in its pool, or bring the disk back, then `virsh resume {name}` there")
    way = WAYS.get(ALIKE.get(why, why))
    if way is not None:
        return "PausedForAReason", (f"{name} is {domain.state} on {host} ({why}): nothing is done;"
                                    f" {way.format(name=name)}")
    return "PausedForAReason", (
        f"{name} is {domain.state} on {host} ({why or 'no reason given'}): nothing is done; see"
        f" there why, then `virsh resume {name}`")
