"""A first copy runs in slices: backup jobs are short, and an interrupted copy resumes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.errors import Unavailable
from tests.lab.lab import Lab, wait_until
from tests.lab.replica.replication import MIB, Replication, without_gap
from tests.lab.witness import last_number

VM, HOME, TO = "mail", "paris-2", "milan-1"
CONTENT_MIB = 96
SLICED = {"rate_bytes": 8 * MIB, "budget_s": 3.0}
"""Two slices or more, though a copy reads some 40 MiB further than it has sent."""
SLICE = re.compile(r"^hotsite-000001-[0-9a-f]+(?:\.(\d+))?$", re.MULTILINE)
"""The checkpoint of a slice of the first point, with its number where that is not 1."""
SENT = re.compile(r"sent (\d+(?:\.\d+)?)MiB")


@pytest.fixture
def mail(converged: Lab) -> Iterator[Replication]:
    """A guest of 128 MiB in Paris, most of it content, that was never replicated."""
    replication = Replication(converged, VM, HOME, TO, 128 * MIB)
    converged.exec(TO, "rm", "-rf", replication.path)
    replication.forget_checkpoints()
    replication.write(24, CONTENT_MIB)
    yield replication
    converged.exec(TO, "rm", "-rf", replication.path)


def slice_of(mail: Replication) -> int:
    """Return the number of the newest slice that has begun, 0 before the first."""
    found = SLICE.findall("\n".join(mail.checkpoints()))
    return max((int(number or 1) for number in found), default=0)


def test_a_first_copy_in_slices_is_one_point_in_time_the_last(
        mail: Replication, tmp_path: Path) -> None:
    with mail.under_way(**SLICED) as outcome:
        wait_until("the first slice", lambda: slice_of(mail) >= 1)
        written = last_number(HOME, VM)
    said = str(outcome[0])
    slices = re.search(r"in (\d+) slices", said)
    assert slices is not None, said
    assert int(slices[1]) >= 2, said
    numbers = mail.point_numbers(tmp_path)
    assert without_gap(numbers)
    assert numbers[-1] > written, "the first slice was over long before"
    assert mail.boot_point()[-1] > numbers[-1]
    mail.leaves_nothing_behind()


def test_a_first_copy_that_is_cut_off_goes_on_and_what_it_lost_comes_again(
        mail: Replication, tmp_path: Path) -> None:
    with mail.under_way(**SLICED) as outcome:
        wait_until("a second slice, and what is to be spoilt", lambda: slice_of(mail) >= 2 and (
            mail.folder / "vda/incoming.part").stat().st_size > 31 * MIB)
        for pid in mail.movers("send"):
            mail.lab.exec(HOME, "kill", "-9", str(pid))
    assert isinstance(outcome[0], Unavailable), outcome
    mail.write(26, 1)       # of what has come already: it has to come again
    with (mail.folder / "vda/incoming.part").open("r+b") as file:
        file.seek(30 * MIB)
        file.write(b"what a host that lost power had not brought to its disk")
    with pytest.raises(Unavailable, match="1 clusters of disk vda are not what was received"):
        mail.cycle()
    said = mail.cycle()
    assert "it goes on where it was cut off" in said
    sent = SENT.search(said)
    assert sent is not None, said
    assert float(sent[1]) < CONTENT_MIB - 8, said
    assert without_gap(mail.point_numbers(tmp_path))
    mail.lab.virsh(HOME, "destroy", VM)
    mail.cycle()
    assert mail.identical()
    mail.boot()
    mail.leaves_nothing_behind()
