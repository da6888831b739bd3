"""The failovers that this node has a record of: read for the facts, and written on order.

A record lies in /var/lib/hotsite/failover, one file per scope. It is read by whoever conducts next,
so it must be there whole, or as it was before: written under another name, synced, renamed, and the
folder synced. A node accepts no record that is older than its own: by epoch, by term, by step.
Whoever brings an older one was replaced, and learns which one is held.

    records.py write    one record as JSON on standard input; exit status 76: this node has a newer
"""

import fcntl
import json
import os
import sys

FOLDER = "/var/lib/hotsite/failover"
OLDER = 76
MOST_BYTES = 8 << 20


def records(folder: str = FOLDER) -> list:
    """Return every record here; one that cannot be read has `unreadable`, and its scope alone."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    return [read(folder, name) for name in names if name.endswith(".json")]


def read(folder: str, name: str) -> dict:
    """Return one record, or why it cannot be read."""
    scope = name[: -len(".json")].replace("_", "/", 1)
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            found = json.loads(file.read(MOST_BYTES))
        if found["scope"] != scope or not isinstance(found["epoch"], int):
            raise ValueError("it is another scope's")
        return found
    except (OSError, ValueError, LookupError, TypeError) as reason:
        return {"scope": scope, "epoch": 0, "phase": "calm",
                "unreadable": "%s: %s" % (type(reason).__name__, reason)}


def write(record: dict, folder: str = FOLDER) -> str:
    """Save a record, and return an empty text, or why this node keeps its own."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(folder, record["scope"].replace("/", "_", 1) + ".json")
    with open(os.path.join(folder, ".lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        newer = obstacle(record, folder, os.path.basename(path))
        if newer:
            return newer
        with open(path + ".part", "w", encoding="utf-8") as file:
            file.write(json.dumps(record, sort_keys=True, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(path + ".part", path)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return ""


def obstacle(record: dict, folder: str, name: str) -> str:
    """Return why a record may not replace the one that is here; empty if it may."""
    if not os.path.exists(os.path.join(folder, name)):
        return ""
    held = read(folder, name)
    if held.get("unreadable"):
        return "its record of %s cannot be read (%s): move %s aside by hand" % (
            record["scope"], held["unreadable"], os.path.join(folder, name))
    mine, other = ((one["epoch"], one.get("term", 0), one.get("step", 0))
                   for one in (record, held))
    if mine < other:
        return "it has a newer record of %s: epoch %d, term %d, step %d, and not %d, %d, %d" % (
            record["scope"], *other, *mine)
    return ""


def main() -> int:
    """Write the record on standard input."""
    said = write(json.loads(sys.stdin.read(MOST_BYTES)))
    if said:
        sys.stderr.write(said + "\n")
        return OLDER
    return 0


if __name__ == "__main__":
    sys.exit(main())
