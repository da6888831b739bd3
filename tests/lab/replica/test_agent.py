"""What a guest agent can do to a copy, and a copy to its guest: no guest stays frozen."""

from collections.abc import Iterator

import pytest

from controller.errors import Unavailable
from tests.lab.lab import Lab, wait_until
from tests.lab.replica.guest import HOME, inside, is_thawed, kept, serve_agent
from tests.lab.replica.replication import Replication


@pytest.fixture(scope="module")
def ledger(converged: Lab) -> Iterator[Replication]:
    """A guest with an operating system and two disks that has been copied once."""
    with kept(converged, system=True) as replication:
        assert "the replica has nothing of it yet" in replication.cycle()
        yield replication


def test_a_frozen_guest_is_thawed_at_once_and_its_point_says_so(ledger: Replication) -> None:
    serve_agent(ledger)

    def is_quiesced() -> bool:
        ledger.cycle(quiesce=True)
        return ledger.state()["points"][-1]["quiesced"] is True

    wait_until("a point that says so", is_quiesced)
    wait_until("the thaw", lambda: is_thawed(ledger))


def test_an_agent_that_hangs_keeps_no_guest_frozen(ledger: Replication) -> None:
    serve_agent(ledger, delay_s=7)
    said = ledger.cycle(quiesce=True)
    assert ledger.state()["points"][-1]["quiesced"] is False, said
    wait_until("the thaw", lambda: is_thawed(ledger))


def test_a_guest_is_thawed_when_the_one_who_froze_it_is_killed(ledger: Replication) -> None:
    def is_killed_while_frozen() -> bool:
        """Kill it, and say whether that was in time; where the machine is busy it may not be."""
        before = ledger.checkpoints()
        serve_agent(ledger, delay_s=3)
        with ledger.under_way(quiesce=True) as outcome:
            wait_until("the freeze", lambda: "frozen" in inside(ledger, "cat /agent.log; true"))
            front = min(ledger.movers("job"))   # not the one that stands by to thaw
            ledger.lab.exec(HOME, "kill", "-9", str(front))
        assert isinstance(outcome[0], Unavailable), outcome
        wait_until("the thaw", lambda: is_thawed(ledger))
        serve_agent(ledger)
        if ledger.checkpoints() == before:
            return True
        ledger.cycle()      # the job had begun: what it left goes with the next copy
        return False

    wait_until("a kill in time", is_killed_while_frozen)
    ledger.leaves_nothing_behind()
    assert "changed" in ledger.cycle()
