"""Copies at the same time share the bandwidth, and each learns of every change of its share."""

from hypothesis import given
from hypothesis import strategies as st

from controller.plan.actions.replica import RateLimit
from controller.replication.bandwidth import UNLIMITED, Shares, fair_shares

LINK, GOLD = RateLimit("InterSiteLink/metro", 12_000), RateLimit("ProtectionPolicy/gold", 2_000)
SILVER = RateLimit("ProtectionPolicy/silver", 50_000)
LIMITS = st.lists(st.builds(RateLimit, st.sampled_from("abcd"), st.integers(1, 10**9)), max_size=4,
                  unique_by=lambda limit: limit.scope)


def test_a_copy_alone_takes_the_tightest_of_its_limits() -> None:
    assert fair_shares({1: (LINK, GOLD)}) == {1: 2_000}
    assert fair_shares({1: ()}) == {1: UNLIMITED}


def test_what_one_may_not_take_is_the_others() -> None:
    assert fair_shares({1: (LINK, GOLD), 2: (LINK, SILVER), 3: (LINK,)}) == {
        1: 2_000, 2: 5_000, 3: 5_000}


def test_the_lowest_rate_that_is_told_of_a_limit_holds() -> None:
    assert fair_shares({1: (LINK,), 2: (RateLimit(LINK.scope, 4_000),)}) == {1: 2_000, 2: 2_000}


@given(st.dictionaries(st.integers(0, 9), LIMITS))
def test_no_limit_is_passed_and_every_copy_is_held_by_one_that_is_used_up(
        copies: dict[int, list[RateLimit]]) -> None:
    shares = fair_shares(copies)
    assert shares.keys() == copies.keys()
    rates: dict[str, int] = {}
    for limits in copies.values():
        for one in limits:
            rates[one.scope] = min(one.rate_bps, rates.get(one.scope, one.rate_bps))
    used = {scope: sum(shares[copy] for copy, limits in copies.items()
                       if scope in {one.scope for one in limits}) for scope in rates}
    assert all(used[scope] <= rate * (1 + 1e-9) for scope, rate in rates.items())
    for copy, limits in copies.items():
        assert bool(shares[copy]) == bool(limits)
        assert not limits or any(used[one.scope] >= rates[one.scope] * (1 - 1e-9)
                                 for one in limits)


def test_each_copy_is_told_its_share_and_again_whenever_it_is_another() -> None:
    shares, first, second = Shares(), list[float](), list[float]()
    with shares.taken((LINK,), first.append):
        with shares.taken((LINK,), second.append):
            pass
        with shares.taken((), second.append):
            pass
    assert first == [12_000, 6_000, 12_000]
    assert second == [6_000, UNLIMITED]
