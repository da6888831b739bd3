"""What we have put on this machine goes: programs, keys, locks, terms, records. Guests run on.

Only names that are ours are removed, and folders only once they are empty. What runs stops it: a
mover that conducts a copy, a guard, a grantor. Said on standard input: {"folders": [FOLDER, …]} of
pools; answered: {"removed": [PATH, …]}, or a sentence on standard error and exit status 1.
"""

import contextlib
import fcntl
import glob
import json
import os
import re
import socket
import sys
import time

RUN = os.environ.get("HOTSITE_RUN", "/run/hotsite")
DURABLE = os.environ.get("HOTSITE_DURABLE", "/var/lib/hotsite")
OF_RUN = ("mover-*.pyz*", "guard/*", "sshd.json*", "*.lock", "move-*.xml", "scratch-*",
          "cold-*.sock", "unconfirmed-*.json*")
OF_DURABLE = ("term", "term.*", "failover/*", "known/*", "guard/*")
LISTENING = ("guard/guard.sock", "guard/grantor.sock")
OF_POOLS = ("hotsite-replicas", "hotsite-scratch")
KEY = re.compile(r"restrict,.*\shotsite-transfer-[0-9a-f]{8,32}\s*\Z")
FREE = "# a free place for a one-time key of hotsite"
MOST_BYTES = 16 << 20
ENDS_S = 10.0       # for a guard or grantor that was told to end


def main() -> int:
    """Remove everything, and say what it was."""
    folders = json.loads(sys.stdin.read())["folders"]
    try:
        busy = busy_with()
        if busy:
            sys.stderr.write(busy + "\n")
            return 1
        removed = [path for path in keys_files() if clean(path)]
        removed += remove(RUN, OF_RUN) + remove(DURABLE, OF_DURABLE)
    except OSError as error:
        sys.stderr.write("%s: %s\n" % (error.filename, error.strerror))
        return 1
    for folder in [os.path.join(one, name) for one in folders for name in OF_POOLS]:
        with contextlib.suppress(OSError):      # it is not there, or not empty
            os.rmdir(folder)
            removed.append(folder)
    print(json.dumps({"removed": removed}))
    return 0


def busy_with() -> str:
    """Return what of ours is at work here; empty if nothing is."""
    for path in glob.glob(os.path.join(RUN, "replicate-*.lock")):
        with open(path, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return "a copy of a VM is at work (%s)" % os.path.basename(path)
    until = time.monotonic() + ENDS_S
    for name in LISTENING:
        while listens(os.path.join(RUN, name)):
            if time.monotonic() > until:
                return "%s listens: what listens there has to be ended first" % name
            time.sleep(0.2)
    return ""


def listens(path: str) -> bool:
    """Return whether somebody receives what is sent to a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as box:
        try:
            box.connect(path)
        except OSError:
            return False
    return True


def keys_files() -> list:
    """Return the files of keys in which one-time keys of ours have been."""
    try:
        with open(os.path.join(RUN, "authorized_keys.lock"), encoding="utf-8",
                  errors="surrogateescape") as file:
            return [path for path in file.read(1 << 16).split("\n") if path]
    except FileNotFoundError:
        return []


def clean(path: str) -> bool:
    """Take lines of ours out of a file of keys; return whether there were any."""
    path = os.path.realpath(path)
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            before = os.fstat(file.fileno())
            text = file.read(MOST_BYTES)
    except FileNotFoundError:
        return False
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if not KEY.match(line) and not line.startswith(FREE)]
    if len(kept) == len(lines):
        return False
    part = path + ".hotsite-part"
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        file.write("".join(kept))
        os.fchown(file.fileno(), before.st_uid, before.st_gid)
        os.fchmod(file.fileno(), before.st_mode & 0o7777)
        file.flush()
        os.fsync(file.fileno())
    now = os.stat(path)
    if (now.st_ino, now.st_size, now.st_mtime_ns) != (
            before.st_ino, before.st_size, before.st_mtime_ns):
        os.unlink(part)
        raise OSError(0, "somebody else is writing to it: run this again", path)
    os.rename(part, path)
    return True


def remove(folder: str, patterns: "tuple[str, ...]") -> list:
    """Remove what is ours in a folder, then each folder that is empty."""
    removed = []
    for pattern in patterns:
        for path in sorted(glob.glob(os.path.join(folder, pattern))):
            if not os.path.isdir(path):
                os.unlink(path)
                removed.append(path)
        if "/" in pattern:
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(folder, os.path.dirname(pattern)))
    with contextlib.suppress(OSError):
        os.rmdir(folder)
    return removed


if __name__ == "__main__":
    sys.exit(main())
