"""Copies are killed at random moments: the last good point stays, the next cycle converges.

Its 9 kills, one at each place, are the first of the 200 of `make soak`.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from controller.errors import ActionError
from tests.lab.lab import Lab, wait_until
from tests.lab.replica.replication import MIB, Replication, form_of, tool

KILLS = 200 if os.environ.get("SOAK") else 9
SEED = 20071123
VM, HOME, TO = "mail", "paris-2", "milan-2"
KEPT_POINTS = 3
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.lab.replica.replication"])


class Place(NamedTuple):
    """Where a copy can be struck, and how that is mended; both hands take what is replicated."""

    strike: Callable[[Replication, BaseProcess], object]
    mend: Callable[[Replication], object] = lambda _mail: None


def kill(host: str, pattern: str) -> Callable[[Replication, BaseProcess], object]:
    """Return the hand that kills all processes of a host whose command line fits."""
    return lambda mail, _process: mail.lab.exec(
        host, "sh", "-c", 'pkill -9 -f "$1" || true', "sh", pattern)


def lose_power(mail: Replication, _process: BaseProcess) -> None:
    """Cut the power of the replica's host."""
    mail.lab.break_("power", TO)


def cut_link(mail: Replication, process: BaseProcess) -> None:
    """Cut the replica's site off for longer than anybody waits."""
    mail.lab.break_("site", "milan")
    process.join(60)


def restart_libvirtd(mail: Replication, _process: BaseProcess) -> None:
    """Kill libvirtd, and start it again as a service manager does."""
    mail.lab.break_("libvirtd", HOME)
    mail.lab.mend("libvirtd", HOME)


PLACES = {
    "the sending mover": Place(kill(HOME, r"[m]over-.*\.pyz send")),
    "the mover that conducts the job": Place(kill(HOME, r"[m]over-.*\.pyz job")),
    "the receiving mover": Place(kill(TO, r"[m]over-.*\.pyz (receive|attend|retire)")),
    "ssh between the hosts": Place(kill(HOME, r"[s]sh -T -F none")),
    "the controller": Place(lambda _mail, process: process.kill()),
    "QEMU": Place(lambda mail, _process: mail.lab.break_("vm", HOME, VM), lambda mail: mail.boot()),
    "libvirtd": Place(restart_libvirtd),
    "the replica's host": Place(lose_power, lambda mail: mail.lab.mend("power", TO)),
    "the link": Place(cut_link, lambda mail: mail.lab.mend("site", "milan")),
}
SLOW = {"QEMU", "the link"}
"""A guest boots again, a cut link is waited for: each is struck half as often as the others."""


@pytest.fixture(scope="module")
def mail(converged: Lab) -> Iterator[Replication]:
    """A guest of 128 MiB in Paris that has been replicated to Milan once."""
    replication = Replication(converged, VM, HOME, TO, 128 * MIB)
    converged.exec(TO, "rm", "-rf", replication.path)
    replication.cycle()
    yield replication
    converged.exec(TO, "rm", "-rf", replication.path)


def keep(top: Path, into: Path) -> None:
    """Write down what QEMU reads from a point of which this is the topmost file."""
    tool("qemu-img", "convert", "-f", form_of(top), "-O", "raw", top, into)


def is_as_kept(top: Path, kept: Path) -> bool:
    """Say whether QEMU finds no error in a point, and reads what it read before."""
    sound = form_of(top) == "raw" or "No errors were found" in tool("qemu-img", "check", top)
    return sound and "identical" in tool("qemu-img", "compare", "-f", form_of(top), "-F", "raw",
                                         top, kept)


def work(mail: Replication) -> None:
    """Make the next point, or, when there are many, let old ones go; as a controller would."""
    sequences = mail.published()
    try:
        if len(sequences) > KEPT_POINTS:
            mail.retire(*sequences[:-1])
        else:
            mail.cycle(rate_bytes=MIB, budget_s=60)
    except ActionError:
        raise SystemExit(1) from None


def converge(mail: Replication) -> None:
    """Make a point, trying again as the loop does."""
    said: list[str] = []

    def made() -> bool:
        try:
            mail.published()
            mail.cycle()
        except ActionError as error:
            said.append(str(error))
            return False
        return True
    try:
        wait_until("a copy after the fault is gone", made)
    except AssertionError as error:
        raise AssertionError(f"{error}: {said[-1:]}") from error


def test_whatever_is_killed_the_last_point_stays_and_the_next_follows(
        mail: Replication, tmp_path: Path) -> None:
    dice, struck = Random(SEED), [*PLACES, *(name for name in PLACES if name not in SLOW)]
    for number in range(KILLS):
        name = struck[number % len(struck)]
        place, delay_s = PLACES[name], dice.uniform(0, 2.5)
        said = f"kill {number + 1}: {name} after {delay_s:.2f} s"
        mail.write(64 + number % 62, 2)
        point = mail.published()[-1]
        keep(mail.top(point), tmp_path / "point.raw")
        process = PROCESSES.Process(target=work, args=(mail,))
        process.start()
        time.sleep(delay_s)
        place.strike(mail, process)
        process.join(300)
        assert process.exitcode is not None, f"{said}: the copy hangs"
        place.mend(mail)
        assert is_as_kept(mail.top(point), tmp_path / "point.raw"), said
        converge(mail)
        mail.leaves_nothing_behind(said)
    assert mail.point_numbers(tmp_path)[-1] + 1 in mail.boot_point()
