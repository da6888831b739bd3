"""`ip` and `bridge` of a machine whose ports lie in a file: what the real ones say and do there."""

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def kept(path: Path) -> Iterator[dict[str, Any]]:
    """The state of the machine, for one reader or writer at a time; written back whole."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = json.loads(path.read_text())
        try:
            yield state
        finally:
            part = path.with_suffix(".part")
            part.write_text(json.dumps(state))
            part.replace(path)


def flags_of(vlan: dict[str, Any]) -> list[str]:
    return [word for word in ("PVID", "Egress Untagged") if vlan.get(word)]


def show(ports: dict[str, Any], port: str) -> list[dict[str, Any]]:
    vlans = ports[port]["vlans"]
    return [{"ifname": port, "vlans": [
        {"vlan": int(number), **({"flags": flags_of(vlan)} if flags_of(vlan) else {})}
        for number, vlan in sorted(vlans.items(), key=lambda one: int(one[0]))]}]


def change(ports: dict[str, Any], words: list[str]) -> None:
    verb, port, numbers = words[1], words[3], words[5]
    first, _, last = numbers.partition("-")
    vlans = ports[port]["vlans"]
    for number in range(int(first), int(last or first) + 1):
        if verb == "del":
            vlans.pop(str(number), None)
            continue
        if "pvid" in words:
            for other in vlans.values():
                other.pop("PVID", None)
        vlans[str(number)] = {word: True for word, said in (
            ("PVID", "pvid"), ("Egress Untagged", "untagged")) if said in words}


def main() -> None:
    with kept(Path(os.environ["FAKE_STATE"])) as state:
        state["asked"].append(sys.argv[1:])
        answer(state, sys.argv[1:])


def answer(state: dict[str, Any], words: list[str]) -> None:
    if words[-1] in state["gone"]:
        sys.exit(f'Device "{words[-1]}" does not exist.')
    if state["broken"]:
        sys.exit(state["broken"])
    if "link" in words:
        port = state["ports"][words[-1]]
        master = {"master": port["master"]} if port["master"] else {}
        sys.stdout.write(json.dumps([{"ifname": words[-1], "address": port["address"], **master}]))
    elif "-batch" in words:
        for line in sys.stdin.read().splitlines():
            change(state["ports"], line.split())
    else:
        sys.stdout.write(json.dumps(show(state["ports"], words[-1])))


if __name__ == "__main__":
    main()
