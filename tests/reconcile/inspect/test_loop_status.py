"""The age of an observation counts from when it was made, not from when it was noticed."""

import pytest

from controller.model.facts import Unknown
from controller.reconcile.inspect.loop_status import LoopStatus


@pytest.mark.parametrize(("last_at", "since_at", "unseen"), [
    (90.0, 100.0, 90.0), (None, 100.0, 100.0), (110.0, 100.0, 100.0)])
def test_a_silence_begins_with_the_last_word(
        last_at: float | None, since_at: float, unseen: float) -> None:
    assert Unknown("it is silent", since_at, None, last_at).unseen_since_at == unseen
    beat = {"at": 100.0, "nodes": {"paris-1": {
        "state": "unknown", "sentence": "it is silent", "since_at": since_at,
        "observed_at": last_at}}}
    loop_status = LoopStatus(100.0, beat, (), (), ())
    [(line, _)] = loop_status.node_lines(everything=False)
    assert line == f"? paris-1: it is silent (for {'10s' if unseen == 90.0 else '0s'})"


def test_a_loop_that_was_stopped_does_not_run_however_recent_its_last_heartbeat() -> None:
    beat = {"at": 99.0, "started_at": 10.0, "pid": 7}
    assert LoopStatus(100.0, beat, (), (), ()).alive
    stopped = LoopStatus(100.0, beat | {"stopped": True}, (), (), ())
    assert not stopped.alive
    assert stopped.exit_status() == 5
    assert stopped.loop_line()[0] == (
        "the loop was stopped 1s ago (pid 7): what follows is from then")
