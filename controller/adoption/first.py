"""The three lines to change for the first protected VM."""

from collections.abc import Sequence

from controller.adoption.machines import MachineGuess
from controller.adoption.text import plain


def first_machine(machines: Sequence[MachineGuess]) -> MachineGuess | None:
    """Return the VM to begin with: every disk of it is copied, and of those it has the fewest."""
    def size(guess: MachineGuess) -> tuple[bool, int, str]:
        """Return how much of it is only observed, and how many disks it has."""
        spec = plain(guess.document)["spec"]
        return bool(guess.observed), len(spec["disks"]), guess.name

    fit = [one for one in machines if (disks := plain(one.document)["spec"].get("disks"))
           and all(disk.get("replicate", True) for disk in disks)]
    return min(fit, key=size, default=None)


def three_lines(machines: Sequence[MachineGuess], sites: int) -> list[str]:
    """Return what to write where, one line each; nothing where no VM could be protected."""
    machine = first_machine(machines)
    if machine is None:
        return []
    there = ("hosts.yaml      `site:` of the hosts elsewhere: another site; each names the other as"
             " `twin` in sites.yaml" if sites < 2 else
             "hosts.yaml      `replicationAddress:` of each host, if copies have a network of their"
             " own")
    return [there,
            f"vms/{machine.host}.yaml  in the spec of {machine.name}:  protection: standard",
            "estate.yaml     in the spec of the Estate:  autonomy: replicate"]
