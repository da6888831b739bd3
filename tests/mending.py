"""The line that mends a fault of the simulated estate."""

from typing import Final

MENDS: Final = {"off": "on", "hang": "wake", "pause": "resume", "down": "up", "cut": "join",
                "fill": "free", "unmount": "mount", "babble": "speak", "kill": "start",
                "muffle": "show", "dim": "light",
                "corrupt-state": "restore-state", "foreign-backup": "end-backup"}


def mending(text: str) -> str | None:
    """Return the line that mends the fault `text`; None where only the loop or a human can."""
    words = text.split()
    match words:
        case ["power" | "link" | "site", name, state] if state in MENDS:
            return f"{words[0]} {name} {MENDS[state]}"
        case ["bmc", name, _]:
            return f"bmc {name} {'up' if words[2] == 'down' else 'plain'}"
        case ["ssh", name, "pause"]:
            return f"ssh {name} resume"
        case ["libvirtd", name, "kill"]:
            return f"libvirtd {name} start"
        case ["rename", _, vm, name] | ["rename-migrate", vm, _, name]:
            return f"call-back {name} {vm}"
        case ["impostor" | "rescue" | "clone", _, _, name]:
            return f"call-off {name}"
        case ["hang" | "fill" | "babble" | "unmount" as word, name]:
            return f"{MENDS[word]} {name}"
        case ["muffle" | "dim" | "corrupt-state" | "foreign-backup" as word, name, vm]:
            return f"{MENDS[word]} {name} {vm}"
        case ["slow" | "clock" as word, name, _]:
            return f"{word} {name} 0"
        case _:
            return None
