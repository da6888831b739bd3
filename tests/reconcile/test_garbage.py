"""Long-lived objects are kept out of the garbage collector where that pays."""

import gc

from controller.reconcile.garbage import LARGE, freeze_gc, gc_paused
from tests.plan.builders import large


def test_a_large_estate_rests_and_a_small_one_is_left_as_it_was() -> None:
    gc.unfreeze()
    freeze_gc(large(10, 2))
    assert gc.get_freeze_count() == 0
    try:
        freeze_gc(large(LARGE, 50))
        assert gc.get_freeze_count() > LARGE
    finally:
        gc.unfreeze()


def test_the_collector_is_off_during_a_decision_and_on_again_after_it() -> None:
    assert gc.isenabled()
    with gc_paused():
        assert not gc.isenabled()
    assert gc.isenabled()
