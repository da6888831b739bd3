"""Go the guide of examples/first-estate on three fresh hosts, as the person who follows it."""

import time
from typing import Final

import estate
import power
from estate import STEP_S, WORK
from guide import ANSWER, Typed, differs, plain, steps_of
from person import PASSWORD, Person
from places import EVERY, HERE, HOSTS, SECOND, StockError, on, run

ROOT = HERE.parents[1]
GUIDE = ROOT / "examples/first-estate/README.md"
DEB12, DEB13 = HOSTS
NAMES: Final = {"paris-1": DEB12, "paris-2": SECOND, "milan-1": DEB13}
VMS: Final = {DEB12: ("WIN_2019", "db"), SECOND: ("mail",), DEB13: ()}
PLAIN = f"rm /etc/sudoers.d/ops && echo ops:{PASSWORD} | chpasswd"
"""`ops` as Debian's installer makes it: sudo asks for a password."""


def check_guide() -> None:
    """Type every command of the guide; the first that ends or says otherwise ends it."""
    estate.begin()
    power.up(EVERY, keep=False)
    for host in EVERY:
        estate.plant(host, *VMS[host])
        on(host, PLAIN)
    person = somebody()
    begun = time.monotonic()
    steps = steps_of(GUIDE)
    for step in steps:
        go(person, step)
        print(f"{time.monotonic() - begun:5.0f} s  {step.command.splitlines()[0]}", flush=True)
    print(f"{len(steps)} commands, all as {GUIDE.relative_to(ROOT)} says")


def somebody() -> Person:
    """Return a person with an empty home, in which a checkout lies."""
    person = Person(WORK / "person", NAMES)
    checkout = person.here("hotsite")
    checkout.mkdir()
    run("sh", "-c", 'git -C "$1" ls-files -z | tar -C "$1" --null -T - -c | tar -C "$2" -x', "sh",
        str(ROOT), str(checkout))
    person.own()
    return person


def go(person: Person, step: Typed) -> None:
    """Type one command and compare what is seen."""
    questions = [found for line in step.shown if (found := ANSWER.match(line))]

    def answer(last: str) -> str | None:
        """Return what the guide answers to the question that waits, if it is the next one."""
        if questions and plain(last) == plain(questions[0]["question"]):
            return questions.pop(0)["answer"]
        return None

    status, seen = person.types(step.command, answer, STEP_S)
    with (WORK / "seen.log").open("a") as log:
        log.write("\n".join([f"$ {step.command}", *seen, ""]))
    difference = differs(step.shown, seen)
    if difference:
        raise StockError(f"{GUIDE.relative_to(ROOT)}:{step.line}: {step.command} (status {status}):"
                         f" {difference}\n" + "\n".join(seen))
