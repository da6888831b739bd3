"""How much may be queued for the wire: more before a receiver is connected."""

import threading

from mover.image.hashing import SHA256, Hasher
from mover.transfer.frames import Zero
from mover.transfer.pipeline import BATCHES_AT_LOGIN, BATCHES_WAITING, Packing, Pipeline
from mover.transfer.wire import Writer

LOAD = (0, 0, [Zero(0, 65536)])


def test_more_may_wait_until_the_receiver_is_there() -> None:
    there, nobody = threading.Event(), Writer(-1, Hasher(SHA256))
    pipeline = Pipeline([], Packing(Hasher(SHA256)), there.is_set)
    for _ in range(BATCHES_WAITING + BATCHES_AT_LOGIN):
        pipeline._enqueue(LOAD)           # none of these waits: nobody takes anything
    there.set()
    for _ in range(BATCHES_AT_LOGIN + 1):
        assert pipeline._next(nobody) == LOAD
    pipeline._enqueue(LOAD)
    assert pipeline._waiting.qsize() == BATCHES_WAITING
    assert not pipeline._room.acquire(blocking=False), "no more than these may wait from now on"
