"""One reading of libvirt: what there is, and each domain and pool with a limit of its own.

One virsh asks for the lists and, for what the last reading saw, for the details. What it could not
read is asked about again, and what failed by itself, so that a complaint is known to be its own.
What hangs is asked about alone and ever more rarely: each such question holds a worker of libvirt.
"""

import re
import secrets
import time

from domains import NUMBER, Changed, Told, printable, questions
from programs import LIMIT_S, RECEIVING, VIRSH, Said, Silent, complaints, lines_of, run_all

ROUNDS = 4              # of questions, until all is read
STILL_S = 2.0           # without a word of libvirt: what it was asked about hangs
CHUNK = 150             # objects to one virsh: the length of what it is told has a limit
ALONE = 16              # objects that are asked about alone at once
AGAIN_S = (5.0, 300.0)  # before what hung is asked about again: at first, at most
GONE = ("failed to get domain", "failed to get pool", "omain not found", "pool not found",
        "no domain with matching", "no storage pool with matching")
LISTS = {"version": "version --daemon", "domains": "list --all --uuid --name",
         "running": "list --uuid", "autostart": "list --all --autostart --uuid",
         "persistent": "list --all --persistent --uuid"}
POOLS = {"pools": "pool-list --all --uuid --name", "active": "pool-list --uuid"}
VERSIONS = {"libvirt": "Running against daemon:", "qemu": "Running hypervisor: QEMU",
            "openvswitch": r"\(Open vSwitch\)"}


class Hung:
    """What hung when it was last asked about."""

    def __init__(self, why: str, before: "Hung | None") -> None:
        self.why = why
        self.pause = min(AGAIN_S[1], 2 * before.pause) if before else AGAIN_S[0]
        self.again_at = time.monotonic() + self.pause


class Libvirt:
    """Reads all domains and pools; each of them is named by its kind and its uuid."""

    def __init__(self) -> None:
        self.known = {}     # object -> whether it was active when it was last seen
        self.hung = {}      # object -> Hung

    def programs(self) -> dict:
        """Begin a reading; return the programs (name -> argv) of its first round."""
        self.until = time.monotonic() + LIMIT_S
        self.mark = f"@@{secrets.token_hex(8)}@@"   # cannot occur in anything that libvirt says
        self.lists, self.told, self.failed, self.unread = {}, {}, set(), {}
        self.doubted = set()    # objects that failed alone, and may have changed in that moment
        self.learnt = set()     # kinds of objects whose lists were told
        calm = [one for one in self.known if one not in self.hung]
        parts = parts_of([one for one in calm if one[0] == "domain"])
        pools = [one for one in calm if one[0] == "pool"]
        self.asked = {f"part {at}": part for at, part in enumerate(parts[1:], 1)}
        self.asked["all"] = [*LISTS, *(parts[0] if parts else []), *POOLS, *pools]
        due = [one for one in self.known if one in self.hung
               and self.hung[one].again_at <= time.monotonic()]
        self.asked |= {f"alone {one[1]}": [one] for one in due[:ALONE]}
        return self.commands()

    def single(self) -> tuple:
        """Return the programs of the first round that ask about one thing that hung before."""
        return tuple(name for name in self.asked if name.startswith("alone"))

    def again(self) -> dict:
        """Return the programs that ask for all that is missing still."""
        due = [one for one in self.known if one not in self.told and one not in self.unread
               and one not in self.hung]
        fine = [one for one in due if one not in self.failed]
        self.asked = {}
        for name, lists in (("lists", LISTS), ("pool lists", POOLS)):
            if not lists.keys() & self.lists.keys():
                self.asked[name] = list(lists)
        for at, part in enumerate(parts_of([one for one in fine if one[0] == "domain"])):
            self.asked[f"part {at}"] = part
        if any(one[0] == "pool" for one in fine):
            self.asked["pools"] = [one for one in fine if one[0] == "pool"]
        alone = [one for one in due if one in self.failed][:ALONE]
        self.asked |= {f"alone {one[1]}": [one] for one in alone}
        return self.commands()

    def commands(self) -> dict:
        """Return a virsh for each list of what is asked."""
        return {name: (*VIRSH, f"; echo {self.mark}; ".join(
            [*(text for one in asked for text in self.about(one)), "uri"]))
            for name, asked in self.asked.items()}

    def about(self, one: "str | tuple") -> list:
        """Return the questions about an object, or for a list."""
        if isinstance(one, str):
            return [{**LISTS, **POOLS}[one]]
        kind, uuid = one
        return questions(uuid, self.known[one]) if kind == "domain" else [f"pool-dumpxml {uuid}"]

    def reading(self, said: dict) -> dict:
        """Return a whole reading that began with what the first `programs` said."""
        for left in reversed(range(ROUNDS)):
            for name, asked in self.asked.items():
                self.hear(name, asked, said[name])
            self.learn()
            patience_s = self.until - time.monotonic()
            programs = self.again() if left and patience_s > 0 else {}
            if not programs:
                break
            said = run_all(programs, patience_s, STILL_S, tuple(programs))
        return self.result()

    def hear(self, name: str, asked: list, said: Said) -> None:
        """Take what one virsh said, as far as it came."""
        parts = [part.strip("\n") for part in
                 said.out.decode(errors="surrogateescape").split(self.mark)][:-1]
        errors = [line[7:] for line in complaints(said) if line.startswith("error: ")]
        receiving = any(error.endswith(RECEIVING) for error in errors)
        errors = [error for error in errors if not error.endswith(RECEIVING)]
        answers = {}
        for one in asked:
            count = len(self.about(one))
            if len(parts) < count:
                self.cut_short(one, name, said, errors)
                break
            answers[one], parts = parts[:count], parts[count:]
        for lists in (LISTS, POOLS):
            if all(one in answers for one in lists) and (not errors or name != "all"):
                self.lists |= {one: Silent(f"libvirt did not answer: {errors[0]}") if errors
                               else answers[one][0] for one in lists}
        objects = [one for one in answers if not isinstance(one, str)]
        suspects = suspects_of(objects, answers) if errors else []
        for one in objects:
            self.hung.pop(one, None)
            if one not in suspects:
                self.take(one, answers[one], receiving)
            elif not name.startswith("alone"):
                self.failed.add(one)
            elif all(any(words in error for words in GONE) for error in errors):
                self.unread[one] = None
            elif one not in self.doubted:   # it may have started or ended between two questions
                self.doubted.add(one)
                self.known[one] = is_active(one, answers[one], self.known[one])
            else:
                self.unread[one] = f"libvirt does not show it: {errors[0]}"

    def cut_short(self, one: "str | tuple", name: str, said: Said, errors: list) -> None:
        """Note at what a virsh came to its end."""
        if not isinstance(one, str):
            if said.stalled:
                self.hung[one] = Hung(f"libvirt {said.failure} when it was asked about it",
                                      self.hung.get(one))
            elif name.startswith("alone"):
                self.unread[one] = f"libvirt {said.failure or 'did not show it'}"
            return
        why = f"libvirt {said.failure}" if said.failure else (
            f"libvirt did not answer: {errors[0]}" if errors else "libvirt's answer is not whole")
        lists = LISTS if one in LISTS else POOLS
        if one in LISTS or name != "all":   # the pools are asked for once more, by themselves
            self.lists |= dict.fromkeys(lists, Silent(why))

    def take(self, one: tuple, answers: list, receiving: bool) -> None:
        """Take the answers about one object."""
        try:
            "".join(answers).encode()
            self.told[one] = answers[0] if one[0] == "pool" else Told(answers, receiving)
        except UnicodeEncodeError:
            self.unread[one] = "libvirt shows it with bytes that are no text"
        except Silent as silence:
            self.unread[one] = str(silence)
        except Changed:
            self.known[one] = not self.known[one]

    def learn(self) -> None:
        """Learn from the lists, once, what there is; Silent where even the domains are not told."""
        for name in LISTS:
            if isinstance(self.lists.get(name), Silent):
                raise self.lists[name]
        if "Running against daemon" not in self.lists.get("version", "Running against daemon"):
            raise Silent("libvirt's answer is not whole")
        for kind, name, on in (("domain", "domains", "running"), ("pool", "pools", "active")):
            if kind not in self.learnt and isinstance(self.lists.get(name), str):
                self.learnt.add(kind)
                active = set(lines_of(self.lists[on]))
                self.known = {one: was for one, was in self.known.items() if one[0] != kind} | {
                    (kind, uuid): uuid in active for uuid, _ in named(self.lists[name])}
        self.hung = {one: hung for one, hung in self.hung.items() if one in self.known}

    def why_not(self, one: tuple) -> str:
        """Return why nothing is told of an object."""
        hung = self.hung.get(one)
        return self.unread.get(one) or (hung.why if hung else "libvirt was too slow to show it")

    def result(self) -> dict:
        """Return what was read: of each object what was told, or in `unknown` why nothing was."""
        if "domains" not in self.lists:
            raise Silent("libvirt was too slow to list its domains")
        autostart, persistent = (set(lines_of(self.lists[name]))
                                 for name in ("autostart", "persistent"))
        domains = [{"name": printable(name), "uuid": uuid, "persistent": uuid in persistent,
                    "autostart": uuid in autostart, **self.shown(("domain", uuid))}
                   for uuid, name in named(self.lists["domains"])
                   if self.unread.get(("domain", uuid), "") is not None]
        pools = self.lists.get("pools", Silent("libvirt was too slow to list its pools"))
        if isinstance(pools, str):
            pools = [{"name": printable(name.rstrip()), **self.shown(("pool", uuid))}
                     for uuid, name in named(pools)
                     if self.unread.get(("pool", uuid), "") is not None]
        return {"versions": parse_versions(self.lists["version"]),
                "domains": sorted(domains, key=lambda row: row["name"]),
                "pools": pools if isinstance(pools, Silent) else sorted(
                    pools, key=lambda row: row["name"])}

    def shown(self, one: tuple) -> dict:
        """Return what is known of one object."""
        active = {"active": self.known[one]}
        told = self.told.get(one)
        return {**active, "unknown": self.why_not(one)} if told is None else {
            **active, "told": told}


def parts_of(objects: list) -> list:
    """Return objects in parts that one virsh can be asked about."""
    return [objects[at:at + CHUNK] for at in range(0, len(objects), CHUNK)]


def suspects_of(objects: list, answers: dict) -> list:
    """Return what the errors beside these answers may be about.

    An answer that lacks nothing else may lack checkpoints; most domains have none anyway.
    """
    lacking = [one for one in objects if not all(answers[one][:3] + answers[one][4:])]
    if not lacking:
        lacking = [one for one in objects if not all(answers[one])]
        lacking = lacking if len(lacking) <= ALONE else []
    return lacking or (objects if len(objects) == 1 else [])


def is_active(one: tuple, answers: list, before: bool) -> bool:
    """Return whether an object is active, by what it said of itself, else as it was."""
    if one[0] == "pool" or not answers[1]:
        return before
    return NUMBER.match(answers[1]) is not None     # a guest that crashed may have kept its process


def named(text: str) -> list:
    """Return uuid and name of each line of a list."""
    return [line.partition(" ")[::2] for line in text.split("\n") if line.strip()]


def parse_versions(text: str) -> dict:
    """Return the versions that a text tells."""
    found = {name: re.search(pattern + r" (\S+)", text) for name, pattern in VERSIONS.items()}
    return {name: match[1] for name, match in found.items() if match}
