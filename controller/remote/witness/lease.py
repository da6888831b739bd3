"""
Keep a lease on this machine: one line of JSON in, one line out, until EOF.

    {"verb": "take" | "renew" | "release" | "read", "folder", "estate", "holder", "term",
     "ttl_s", "drift", "above"}
    {"holder", "term", "granted", "left_s", "sentence"}    the lease, after the question
    {"refused": sentence}                                  what is noted here cannot be understood
    {"failed": sentence}                                   it could not be noted; ask again

One file per estate holds the lease: its term, its holder, for how long, and when that was noted, by
the clock that counts from the boot and goes on during sleep. Reading, deciding and noting happen
under one lock, so that of many controllers one wins. The new file is on the disk before the answer
leaves; a crash before that leaves the old one, and nobody was told anything else.

What was noted before a reboot counts from the boot: how long the machine was off is not known.
A file that is broken, or not ours, is refused and left as it is: to take it for "no lease" would
give a term that was given before. A file that is missing means that nobody ever had the lease; if
it was lost, hosts refuse the low term, and the asker, who was told so, asks for one above theirs.

It needs Python >= 3.9 and nothing but the standard library.
"""

import fcntl
import json
import os
import sys
import time
from typing import Any, Dict, Optional, Tuple

HIGHEST = 2**53 - 1
LOCK_S = 2.0
FIELDS = {"holder": str, "term": int, "ttl_s": float, "drift": float, "noted_s": float,
          "boot_id": str}
NONE = {"holder": "", "term": 0, "ttl_s": 0.0, "drift": 0.0, "noted_s": 0.0, "boot_id": ""}


class Unreadable(Exception):
    """What is noted cannot be understood; the text is the reason."""


def parse_note(text: str) -> Dict[str, Any]:
    """Return a note as it was written; errors: Unreadable."""
    try:
        note = json.loads(text)
        whole = {name: note[name] for name in FIELDS}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unreadable("it is no whole note of a lease") from None
    for name, kind in FIELDS.items():
        kinds = (float, int) if kind is float else (kind,)
        if not isinstance(whole[name], kinds) or isinstance(whole[name], bool):
            raise Unreadable(f"its {name} is {str(whole[name])[:40]!r}")
    if not 1 <= whole["term"] <= HIGHEST:
        raise Unreadable(f"its term is {whole['term']}")
    if not (0 <= whole["ttl_s"] <= 1e6 and 0 <= whole["drift"] < 1 and whole["noted_s"] >= 0):
        raise Unreadable("its durations make no sense")
    return whole


def left_of(note: Dict[str, Any], now_s: float, boot_id: str) -> float:
    """Return for how long a noted lease is nobody else's."""
    if not note["holder"]:
        return 0.0
    noted_s = min(note["noted_s"], now_s) if note["boot_id"] == boot_id else 0.0
    return max(0.0, noted_s + note["ttl_s"] * (1 + note["drift"]) - now_s)


def decide(note: Dict[str, Any], question: Dict[str, Any], now_s: float,
           boot_id: str) -> Tuple[Optional[Dict[str, Any]], bool, str]:
    """Return (the new note or None, whether it is the asker's now, a sentence)."""
    verb, holder = question["verb"], question.get("holder", "")
    left_s = left_of(note, now_s, boot_id)
    owner, term = note["holder"], note["term"]
    ours = bool(owner) and owner == holder and left_s > 0
    fresh = {"holder": holder, "ttl_s": question.get("ttl_s", 0.0),
             "drift": question.get("drift", 0.0), "noted_s": now_s, "boot_id": boot_id}
    if verb == "read":
        return None, False, "it was read"
    if verb == "release":
        if owner != holder or term != question["term"]:
            return None, False, f"it is not {holder}'s in term {question['term']}"
        return dict(fresh, holder="", term=term, ttl_s=0.0), False, f"{holder} gave it up"
    if verb == "renew":
        if not ours or term != question["term"]:
            return None, False, (f"it is not {holder}'s in term {question['term']} any more")
        return dict(fresh, term=term), True, f"{holder} keeps it in term {term}"
    if ours:
        return dict(fresh, term=term), True, f"{holder} has it already, in term {term}"
    if owner and left_s > 0:
        return None, False, f"{owner} has it in term {term}"
    term = max(term, question.get("above", 0)) + 1
    return dict(fresh, term=term), True, f"{holder} has it in term {term}"


def boot_id_of() -> str:
    """Return what names this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def locked(path: str) -> int:
    """Return the descriptor of a lock that is held until it is closed; errors: OSError."""
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    give_up_s = time.clock_gettime(time.CLOCK_BOOTTIME) + LOCK_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.clock_gettime(time.CLOCK_BOOTTIME) > give_up_s:
                os.close(lock)
                raise
        time.sleep(0.005)


def read_note(path: str) -> Dict[str, Any]:
    """Return the note; errors: Unreadable, OSError."""
    try:
        with open(path, encoding="utf-8") as file:
            return parse_note(file.read(65536))
    except FileNotFoundError:
        return NONE
    except UnicodeDecodeError:
        raise Unreadable("it is no text") from None


def write_note(path: str, note: Dict[str, Any]) -> None:
    """Put a note on the disk; errors: OSError, and then the old one or the new one is there."""
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump(note, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".part", path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def answer(question: Dict[str, Any]) -> Dict[str, Any]:
    """Return the answer to one question."""
    folder = question["folder"]
    path = os.path.join(folder, question["estate"] + ".json")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        lock = locked(path + ".lock")
    except OSError as error:
        return {"failed": f"the lease in {folder} cannot be locked: {error.strerror}"}
    try:
        note = read_note(path)
        now_s, boot_id = time.clock_gettime(time.CLOCK_BOOTTIME), boot_id_of()
        new, granted, sentence = decide(note, question, now_s, boot_id)
        if new is not None:
            write_note(path, new)
            note = new
        return {"holder": note["holder"], "term": note["term"], "granted": granted,
                "left_s": round(left_of(note, now_s, boot_id), 3), "sentence": sentence}
    except Unreadable as error:
        return {"refused": f"the lease file {path} cannot be used: {error}; once no controller"
                           " acts any more, take it away by hand"}
    except OSError as error:
        return {"failed": f"the lease file {path} cannot be written or read: {error.strerror}"}
    finally:
        os.close(lock)


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
