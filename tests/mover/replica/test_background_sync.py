"""Received data is synced in the background, and a failed sync is reported to the receiver."""

import os

import pytest
from mover.replica.receive import SYNC_BYTES, BackgroundSync

from tests.waiting import wait_until


def written(fd: int, *, more: bool) -> None:
    """Write enough for a sync, and more once it has failed."""
    with BackgroundSync(fd) as early:
        early.wrote(SYNC_BYTES)
        wait_until(lambda: early._failure is not None)
        if more:
            early.wrote(1)
            raise AssertionError("a write after a failed sync went unnoticed")


@pytest.mark.parametrize("more", [True, False])
def test_a_failed_sync_is_told_at_the_next_write_and_at_the_end(*, more: bool) -> None:
    fd, other = os.pipe()           # neither end of a pipe can be synced
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            written(fd, more=more)
    finally:
        os.close(fd)
        os.close(other)


def test_what_is_little_is_left_to_the_last_sync() -> None:
    with BackgroundSync(-1) as early:        # a sync would fail
        early.wrote(SYNC_BYTES - 1)
