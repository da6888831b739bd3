"""One poll of libvirt: which domains and pools there are, and the details of each.

One virsh is asked for the lists and for the details of all objects that the last poll saw; mostly
that is all. What is missing then (new objects, or those behind a failure) is asked for in further
rounds, ROUNDS at the most. An error on stderr does not say which object it is about: the suspects
are asked for again one by one, so that an error is known to be about its object.

An object that hangs holds up the whole virsh, and each question about it holds a worker of libvirt.
It is asked for alone from then on, ever more rarely, and is unknown meanwhile.
"""

import re
import secrets
import time

from domains import NUMBER, Changed, DomainDetails, printable, questions
from programs import (
    LIMIT_S,
    RECEIVING,
    VIRSH,
    NoAnswer,
    Output,
    lines_of,
    run_all,
    stderr_lines,
)

ROUNDS = 4              # of questions, at the most
STILL_S = 2.0           # without output: the object that virsh was asked for hangs
CHUNK = 150             # objects per virsh: the length of its arguments is limited
ALONE = 16              # objects that are asked for one by one at once
RETRY_S = (5.0, 300.0)  # before a hung object is asked for again: at first, at most
GONE = ("failed to get domain", "failed to get pool", "omain not found", "pool not found",
        "no domain with matching", "no storage pool with matching")
LISTS = {"version": "version --daemon", "domains": "list --all --uuid --name",
         "running": "list --uuid", "autostart": "list --all --autostart --uuid",
         "persistent": "list --all --persistent --uuid"}
POOLS = {"pools": "pool-list --all --uuid --name", "active": "pool-list --uuid"}
VERSIONS = {"libvirt": "Running against daemon:", "qemu": "Running hypervisor: QEMU",
            "openvswitch": r"\(Open vSwitch\)"}


class Hung:
    """An object that hung when it was last asked for."""

    def __init__(self, why: str, before: "Hung | None") -> None:
        self.why = why
        self.pause = min(RETRY_S[1], 2 * before.pause) if before else RETRY_S[0]
        self.again_at = time.monotonic() + self.pause


class LibvirtPoll:
    """Polls all domains and pools; an object is named by (kind, uuid)."""

    def __init__(self) -> None:
        self.known = {}     # object -> whether it was active in the last poll
        self.hung = {}      # object -> Hung

    def begin(self, patience: float = 1.0) -> dict:
        """Begin a poll; return the programs (name -> argv) of its first round.

        `patience`: how many times longer than usual libvirt may take.
        """
        self.patience = patience
        self.until = time.monotonic() + LIMIT_S * patience
        self.mark = f"@@{secrets.token_hex(8)}@@"   # occurs in no output of libvirt
        self.lists, self.details, self.failed, self.unread = {}, {}, set(), {}
        self.retried = set()    # objects that failed alone once: they may just have changed
        self.listed = set()     # kinds of objects whose lists were read
        responsive = [one for one in self.known if one not in self.hung]
        parts = parts_of([one for one in responsive if one[0] == "domain"])
        pools = [one for one in responsive if one[0] == "pool"]
        self.asked = {f"part {at}": part for at, part in enumerate(parts[1:], 1)}
        self.asked["all"] = [*LISTS, *(parts[0] if parts else []), *POOLS, *pools]
        due = [one for one in self.known if one in self.hung
               and self.hung[one].again_at <= time.monotonic()]
        self.asked |= {f"alone {one[1]}": [one] for one in due[:ALONE]}
        return self.commands()

    def single(self) -> tuple:
        """Return the programs of the first round that ask for an object that hung before."""
        return tuple(name for name in self.asked if name.startswith("alone"))

    def next_round(self) -> dict:
        """Return the programs that ask for all that is still missing."""
        due = [one for one in self.known if one not in self.details and one not in self.unread
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
        """Return one virsh command for each entry of `asked`."""
        return {name: (*VIRSH, f"; echo {self.mark}; ".join(
            [*(text for one in asked for text in self.about(one)), "uri"]))
            for name, asked in self.asked.items()}

    def about(self, one: "str | tuple") -> list:
        """Return the virsh commands for an object or a list."""
        if isinstance(one, str):
            return [{**LISTS, **POOLS}[one]]
        kind, uuid = one
        return questions(uuid, self.known[one]) if kind == "domain" else [f"pool-dumpxml {uuid}"]

    def finish(self, outputs: dict) -> dict:
        """Return the whole poll, given the outputs of the first round."""
        for left in reversed(range(ROUNDS)):
            for name, asked in self.asked.items():
                self.parse_output(name, asked, outputs[name])
            self.update_known()
            patience_s = self.until - time.monotonic()
            programs = self.next_round() if left and patience_s > 0 else {}
            if not programs:
                break
            outputs = run_all(programs, patience_s, STILL_S * self.patience, tuple(programs))
        return self.result()

    def parse_output(self, name: str, asked: list, output: Output) -> None:
        """Take over the answers of one virsh, as far as it got."""
        parts = [part.strip("\n") for part in
                 output.out.decode(errors="surrogateescape").split(self.mark)][:-1]
        errors = [line[7:] for line in stderr_lines(output) if line.startswith("error: ")]
        receiving = any(error.endswith(RECEIVING) for error in errors)
        errors = [error for error in errors if not error.endswith(RECEIVING)]
        answers = {}
        for one in asked:
            count = len(self.about(one))
            if len(parts) < count:
                self.cut_short(one, name, output, errors)
                break
            answers[one], parts = parts[:count], parts[count:]
        for lists in (LISTS, POOLS):
            if all(one in answers for one in lists) and (not errors or name != "all"):
                self.lists |= {one: NoAnswer(f"libvirt did not answer: {errors[0]}") if errors
                               else answers[one][0] for one in lists}
        objects = [one for one in answers if not isinstance(one, str)]
        suspects = suspects_of(objects, answers) if errors else []
        for one in objects:
            self.hung.pop(one, None)
            if one not in suspects:
                self.parse_object(one, answers[one], receiving)
            elif not name.startswith("alone"):
                self.failed.add(one)
            elif all(any(words in error for words in GONE) for error in errors):
                self.unread[one] = None
            elif one not in self.retried:   # it may have started or ended meanwhile
                self.retried.add(one)
                self.known[one] = is_active(one, answers[one], self.known[one])
            else:
                self.unread[one] = f"libvirt does not show it: {errors[0]}"

    def cut_short(self, one: "str | tuple", name: str, output: Output, errors: list) -> None:
        """Record at which object or list a virsh ended early."""
        if not isinstance(one, str):
            if output.stalled:
                self.hung[one] = Hung(f"libvirt {output.failure} when it was asked about it",
                                      self.hung.get(one))
            elif name.startswith("alone"):
                self.unread[one] = f"libvirt {output.failure or 'did not show it'}"
            return
        why = f"libvirt {output.failure}" if output.failure else (
            f"libvirt did not answer: {errors[0]}" if errors else "libvirt's answer is not whole")
        lists = LISTS if one in LISTS else POOLS
        if one in LISTS or name != "all":   # the pools are asked for once more, alone
            self.lists |= dict.fromkeys(lists, NoAnswer(why))

    def parse_object(self, one: tuple, answers: list, receiving: bool) -> None:
        """Take over the answers about one object."""
        try:
            "".join(answers).encode()
            self.details[one] = answers[0] if one[0] == "pool" else DomainDetails(
                answers, receiving)
        except UnicodeEncodeError:
            self.unread[one] = "libvirt shows it with bytes that are no text"
        except NoAnswer as reason:
            self.unread[one] = str(reason)
        except Changed:
            self.known[one] = not self.known[one]

    def update_known(self) -> None:
        """Take over from the lists, once, which objects there are; NoAnswer without the domains."""
        for name in LISTS:
            if isinstance(self.lists.get(name), NoAnswer):
                raise self.lists[name]
        if "Running against daemon" not in self.lists.get("version", "Running against daemon"):
            raise NoAnswer("libvirt's answer is not whole")
        for kind, name, on in (("domain", "domains", "running"), ("pool", "pools", "active")):
            if kind not in self.listed and isinstance(self.lists.get(name), str):
                self.listed.add(kind)
                active = set(lines_of(self.lists[on]))
                self.known = {one: was for one, was in self.known.items() if one[0] != kind} | {
                    (kind, uuid): uuid in active for uuid, _ in named(self.lists[name])}
        self.hung = {one: hung for one, hung in self.hung.items() if one in self.known}

    def why_not(self, one: tuple) -> str:
        """Return why an object is unknown."""
        hung = self.hung.get(one)
        return self.unread.get(one) or (hung.why if hung else "libvirt was too slow to show it")

    def result(self) -> dict:
        """Return all objects: each with its `details`, or in `unknown` with the reason for none."""
        if "domains" not in self.lists:
            raise NoAnswer("libvirt was too slow to list its domains")
        autostart, persistent = (set(lines_of(self.lists[name]))
                                 for name in ("autostart", "persistent"))
        domains = [{"name": printable(name), "uuid": uuid, "persistent": uuid in persistent,
                    "autostart": uuid in autostart, **self.shown(("domain", uuid))}
                   for uuid, name in named(self.lists["domains"])
                   if self.unread.get(("domain", uuid), "") is not None]
        pools = self.lists.get("pools", NoAnswer("libvirt was too slow to list its pools"))
        if isinstance(pools, str):
            pools = [{"name": printable(name.rstrip()), **self.shown(("pool", uuid))}
                     for uuid, name in named(pools)
                     if self.unread.get(("pool", uuid), "") is not None]
        return {"versions": parse_versions(self.lists["version"]),
                "domains": sorted(domains, key=lambda row: row["name"]),
                "pools": pools if isinstance(pools, NoAnswer) else sorted(
                    pools, key=lambda row: row["name"])}

    def shown(self, one: tuple) -> dict:
        """Return what is known of one object."""
        details = self.details.get(one)
        return {"active": self.known[one], **(
            {"unknown": self.why_not(one)} if details is None else {"details": details})}


def parts_of(objects: list) -> list:
    """Return objects in parts of which each fits one virsh."""
    return [objects[at:at + CHUNK] for at in range(0, len(objects), CHUNK)]


def suspects_of(objects: list, answers: dict) -> list:
    """Return the objects that the errors beside these answers may be about.

    First those that lack an answer. A list of checkpoints may be empty without an error, as it is
    for most domains: it makes suspects only where nothing else is missing.
    """
    lacking = [one for one in objects if not all(answers[one][:3] + answers[one][4:])]
    if not lacking:
        lacking = [one for one in objects if not all(answers[one])]
        lacking = lacking if len(lacking) <= ALONE else []
    return lacking or (objects if len(objects) == 1 else [])


def is_active(one: tuple, answers: list, before: bool) -> bool:
    """Return whether an object is active by its own answers, else as before."""
    if one[0] == "pool" or not answers[1]:
        return before
    return NUMBER.match(answers[1]) is not None     # a guest that crashed may have kept its process


def named(text: str) -> list:
    """Return uuid and name of each line of a list."""
    return [line.partition(" ")[::2] for line in text.split("\n") if line.strip()]


def parse_versions(text: str) -> dict:
    """Return the versions named in a text."""
    found = {name: re.search(pattern + r" (\S+)", text) for name, pattern in VERSIONS.items()}
    return {name: match[1] for name, match in found.items() if match}
