"""What failovers took for each VM, from the promotions in the journal."""

from controller.plan.prediction.measured import Started, boots_of
from controller.plan.survey.context import Boot


def test_vms_that_one_host_started_together_share_the_time_in_which_it_was_busy() -> None:
    found = boots_of([Started("a", "m-1", 100, 106), Started("b", "m-1", 100, 112),
                      Started("c", "m-2", 100, 105), Started("d", "m-1", 200, 203)], {})
    assert found == {"a": Boot(6, 100), "b": Boot(6, 100), "c": Boot(5, 100), "d": Boot(3, 200)}


def test_the_last_start_of_a_vm_counts_and_what_is_no_news_is_left_out() -> None:
    starts = [Started("a", "m-1", 100, 106), Started("a", "m-2", 900, 901)]
    first = boots_of(starts, {})
    assert first == {"a": Boot(1, 900)}
    assert boots_of(starts, first) == {}


def test_an_older_start_does_not_take_the_place_of_a_newer_one() -> None:
    assert boots_of([Started("a", "m-1", 100, 106)], {"a": Boot(1, 900)}) == {}


def test_health_that_was_seen_stays_with_its_start_and_goes_with_another() -> None:
    seen = {"a": Boot(6, 100, 40.0)}
    both = [Started("a", "m-1", 100, 106), Started("b", "m-1", 103, 110)]
    assert boots_of(both, seen) == {"a": Boot(5, 100, 40.0), "b": Boot(5, 103)}
    assert boots_of([Started("a", "m-1", 500, 504)], seen) == {"a": Boot(4, 500)}


def test_a_clock_that_was_set_back_makes_no_negative_times() -> None:
    assert boots_of([Started("a", "m-1", 100, 60)], {}) == {"a": Boot(0, 100)}
